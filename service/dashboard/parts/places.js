// The pages that one can go to, in the order of the side.
// [key after g, path, name, icon]
export const PLACES = [
  ["o", "/", "Overview", "overview"],
  ["t", "/tasks", "Tasks", "tasks"],
  ["d", "/dead", "Dead letters", "dead"],
  ["b", "/bulk", "Bulk actions", "bulk"],
  ["q", "/queues", "Queues", "queues"],
  ["w", "/workers", "Workers", "workers"],
  ["s", "/schedules", "Schedules", "schedules"],
  ["e", "/endpoints", "Endpoints", "endpoints"],
  ["p", "/playground", "Playground", "playground"],
  ["l", "/tail", "Live tail", "tail"],
  ["c", "/settings", "Settings", "settings"],
];
