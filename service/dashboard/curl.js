// A request to this service as a command for a shell.
import { me } from "./api.js";

// *text* so that a POSIX shell takes it as it is.
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

export function curlOf(submission, { path = "/v1/tasks", method = "POST" } = {}) {
  const lines = [`curl -sS ${method === "POST" ? "" : `-X ${method} `}${quoted(location.origin + path)}`, "-H 'Content-Type: application/json'"];
  if (me.value?.is_signed_in) lines.push(`-H "Authorization: Bearer $TASKPOST_API_KEY"`);
  if (submission !== undefined) lines.push(`-d ${quoted(JSON.stringify(submission))}`);
  return lines.join(" \\\n  ");
}
