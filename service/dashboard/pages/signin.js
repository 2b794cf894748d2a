// Asks for an API key, and hands it to the service for a cookie that stands for it. The page itself keeps nothing.
import { html, useState } from "../html.js";
import { Problem, signIn, whyLocked } from "../api.js";
import { useTitle } from "../use.js";
import { ProblemBox } from "../parts/shown.js";

export function SignIn() {
  useTitle("Sign in");
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(new FormData(event.target).get("key").trim());
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      setProblem(cause);
      setBusy(false);
    }
  };
  return html`<main class="signin"><form class="panel padded" onSubmit=${submit}>
    <svg width="36" height="36" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="var(--accent)" />
      <path d="M9 11.5h14M16 11.5V23" stroke="#fff" stroke-width="3.2" stroke-linecap="round" fill="none" />
      <circle cx="23" cy="22" r="2.4" fill="#9ff0c4" /></svg>
    <h1>Taskpost</h1><p class="muted">${whyLocked.value ? `You were signed out: ${whyLocked.value}` : "This service asks for an API key."}</p>
    <div class="field"><label for="key">API key</label>
      <input id="key" name="key" type="password" autocomplete="current-password" required aria-describedby="key-hint" />
      <small id="key-hint">It becomes a cookie of this browser for twelve hours, or until you sign out.</small></div>
    <${ProblemBox} problem=${problem} />
    <button class="primary" type="submit" disabled=${isBusy}>Sign in</button></form></main>`;
}
