// The dashboard begins here: which address shows which page, and what to show until there is a key.
import { html, render, useEffect } from "./html.js";
import { isLocked, learn } from "./api.js";
import { match, place } from "./route.js";
import { Frame } from "./parts/frame.js";
import { Dialogs } from "./parts/dialog.js";
import { Toasts } from "./parts/toasts.js";
import { Empty } from "./parts/shown.js";
import { Bulk } from "./pages/bulk.js";
import { Dead } from "./pages/dead.js";
import { EndpointPage } from "./pages/endpoint.js";
import { Endpoints } from "./pages/endpoints.js";
import { Overview } from "./pages/overview.js";
import { Playground } from "./pages/playground.js";
import { QueuePage } from "./pages/queue.js";
import { Queues } from "./pages/queues.js";
import { SchedulePage } from "./pages/schedule.js";
import { Schedules } from "./pages/schedules.js";
import { Settings } from "./pages/settings.js";
import { SignIn } from "./pages/signin.js";
import { Tail } from "./pages/tail.js";
import { TaskPage } from "./pages/task.js";
import { Tasks } from "./pages/tasks.js";
import { WorkerPage } from "./pages/worker.js";
import { Workers } from "./pages/workers.js";

const ROUTES = [
  ["/", Overview],
  ["/tasks", Tasks],
  ["/tasks/:id", TaskPage],
  ["/dead", Dead],
  ["/bulk", Bulk],
  ["/queues", Queues],
  ["/queues/:name", QueuePage],
  ["/workers", Workers],
  ["/workers/:id", WorkerPage],
  ["/schedules", Schedules],
  ["/schedules/:name", SchedulePage],
  ["/endpoints", Endpoints],
  ["/endpoints/:name", EndpointPage],
  ["/playground", Playground],
  ["/tail", Tail],
  ["/settings", Settings],
];

const Missing = () => html`<${Empty} icon="search" title="There is no such page">The side lists those that there are; <kbd>⌘K</kbd> finds what has a name.</${Empty}>`;

function App() {
  const found = match(ROUTES, place.value.path) ?? { page: Missing, given: {} };
  useEffect(() => { document.body.dataset.ready = "true"; }, []);
  if (isLocked.value) return html`<${SignIn} /><${Toasts} />`;
  return html`<${Frame}><${found.page} key=${place.value.path} ...${found.given} /></${Frame}><${Dialogs} /><${Toasts} />`;
}

// Who asks is known first: pages then ask for nothing that is refused.
learn().then(() => render(html`<${App} />`, document.body));
