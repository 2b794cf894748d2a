// Asks for an API key. It stays in this tab's session storage and goes nowhere but to this service.
import { html, useState } from "../html.js";
import { get, isLocked, Problem, setKey } from "../api.js";
import { useTitle } from "../use.js";
import { ProblemBox } from "../parts/shown.js";

export function SignIn() {
  useTitle("Sign in");
  const [problem, setProblem] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    setKey(new FormData(event.target).get("key").trim());
    try {
      await get("/v1/queues");
      isLocked.value = false;
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      setKey("");
      setProblem(cause);
    }
  };
  return html`<main class="signin"><form class="panel padded" onSubmit=${submit}>
    <svg width="36" height="36" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="var(--accent)" />
      <path d="M9 11.5h14M16 11.5V23" stroke="#fff" stroke-width="3.2" stroke-linecap="round" fill="none" />
      <circle cx="23" cy="22" r="2.4" fill="#9ff0c4" /></svg>
    <h1>Taskpost</h1><p class="muted">This service asks for an API key.</p>
    <div class="field"><label for="key">API key</label>
      <input id="key" name="key" type="password" autocomplete="current-password" required aria-describedby="key-hint" />
      <small id="key-hint">Kept in this tab until you close it.</small></div>
    <${ProblemBox} problem=${problem} />
    <button class="primary" type="submit">Sign in</button></form></main>`;
}
