// Runs before anything is drawn, so that a dark page never flashes white. preferences.js has the rest.
(() => {
  const theme = localStorage.getItem("taskpost.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
