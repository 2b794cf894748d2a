// Shows the contract of the service that this page comes from, wherever it is mounted.
const here = new URL('.', location.href).href.replace(/\/$/, '')

Scalar.createApiReference('#reference', {
  url: here + '/openapi.json',
  servers: [{ url: here, description: 'This service' }],
  defaultHttpClient: { targetKey: 'shell', clientKey: 'curl' },
  orderSchemaPropertiesBy: 'preserve',
  // Nothing of this leaves the machine: no fonts, no telemetry, no assistant.
  withDefaultFonts: false,
  telemetry: false,
  hideClientButton: true,
  showDeveloperTools: 'never',
  agent: { disabled: true },
  mcp: { disabled: true },
})
