// The keys of every page, light and dark, and what is said when the dashboard is gone.  All this asks nobody.
(() => {
  const theme = () => (document.body.classList.contains("body--dark") ? "dark" : "light");
  const setTheme = (wanted) => {
    document.cookie = `plait-theme=${wanted}; path=/; max-age=31536000; samesite=strict`;
    setDark(wanted === "dark");
  };
  const chosen = () => /(?:^|; )plait-theme=(\w+)/.exec(document.cookie)?.[1];
  const words = [
    ["g then m, s, t, c, p, f", "Map, Services, Traces, Canaries, Proxies, Findings"],
    ["/", "Look for something on this page"],
    ["j, k", "The next row, the one before; Enter opens it"],
    ["Arrows, + - 0", "On the map: along its edges, nearer, farther, all of it"],
    ["d", "Light or dark"],
    ["Esc", "Close what is open"],
    ["?", "These keys"],
  ];
  const help = () => {
    let dialog = document.getElementById("plait-keys");
    if (!dialog) {
      dialog = document.createElement("dialog");
      dialog.id = "plait-keys";
      dialog.setAttribute("aria-label", "Keys");
      const rows = words.map(([key, what]) => `<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`).join("");
      dialog.innerHTML = `<h2>Keys</h2><dl>${rows}</dl><form method="dialog"><button class="button">Close</button></form>`;
      document.body.append(dialog);
    }
    dialog.open ? dialog.close() : dialog.showModal();
  };
  const acts = { theme: () => setTheme(theme() === "dark" ? "light" : "dark"), help };
  document.addEventListener("click", (event) => {
    const act = event.target.closest?.("[data-act]")?.dataset.act;
    if (act) acts[act]?.();
  });
  document.addEventListener("DOMContentLoaded", () => {
    if (chosen()) setDark(chosen() === "dark");
    const [what, then] = document.querySelectorAll("#popup > span");
    what.textContent = "The dashboard does not answer.";
    then.textContent = "When it is back, so is this page. If it was ended, or its mesh was, this is the last that it has shown.";
  });
  const row = (step) => {
    const links = [...document.querySelectorAll(".grid tbody tr")].map((one) => one.querySelector("a")).filter(Boolean);
    const at = links.indexOf(document.activeElement?.closest?.("tr")?.querySelector("a"));
    links[at < 0 ? 0 : Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  };
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (Date.now() - going < 1500) {
      going = 0;
      const way = document.querySelector(`.rail [data-key="${CSS.escape(event.key)}"]`);
      if (way) way.click();
    } else if (event.key === "g") going = Date.now();
    else if (event.key === "j" || event.key === "k") row(event.key === "j" ? 1 : -1);
    else if (event.key === "d") acts.theme();
    else if (event.key === "?") help();
    else if (event.key === "/") document.querySelector(".page input[type=search], .page input")?.focus();
    else return;
    event.preventDefault();
  });
})();
