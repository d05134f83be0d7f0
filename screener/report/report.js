
"use strict";
(() => {
  const list = document.getElementById("studies");
  const rows = [...list.querySelectorAll(":scope > li[data-triage]")];
  const find = (id) => document.getElementById(id);
  const text = find("text"), reason = find("reason"), change = find("change"), sort = find("sort");
  const map = find("map"), theme = find("theme"), keys = find("keys"), count = find("count");
  const buttons = [...document.querySelectorAll("button[data-triage]")];
  const root = document.documentElement;
  const WHOLE = 500;
  let current = null;
  let lastMap = 55;

  // Accents, case and the marks between the parts of a name are no difference to who searches.
  const plain = (words) => words.normalize("NFKD").replace(/\p{M}/gu, "").replace(/[\^,\s]+/g, " ").toLowerCase();
  let texts = null;
  const textOf = (row) => {
    texts ??= new Map();
    if (!texts.has(row)) texts.set(row, plain(row.textContent));
    return texts.get(row);
  };

  const filter = () => {
    const triage = new Set(buttons.filter((each) => each.getAttribute("aria-pressed") === "true").map((each) => each.dataset.triage));
    const changes = change.value.split(" ").filter(Boolean);
    const words = plain(text.value).trim().split(" ").filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const facts = row.dataset;
      const fits = (!triage.size || triage.has(facts.triage))
        && (!reason.value || facts.reason === reason.value)
        && (!changes.length || changes.includes(facts.change))
        && (!words.length || words.every((word) => textOf(row).includes(word)));
      row.hidden = !fits;
      shown += fits;
    }
    // Chromium leaves rows that it does not draw out of what it tells a screen reader.
    list.classList.toggle("whole", shown <= WHOLE);
    count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown`;
    if (current && current.hidden) point(null);
  };

  const order = () => {
    const by = sort.value;
    const sorted = [...rows];
    if (by === "taken") {
      sorted.sort((a, b) => (a.dataset.taken < b.dataset.taken) - (a.dataset.taken > b.dataset.taken));
    } else if (by !== "rank") {
      // What has no number comes last.
      const value = (row) => (row.dataset[by] ? Number(row.dataset[by]) : -1);
      sorted.sort((a, b) => value(b) - value(a));
    }
    list.append(...sorted);
  };

  const point = (row) => {
    if (current) current.removeAttribute("aria-current");
    current = row;
    if (!row) return;
    row.setAttribute("aria-current", "true");
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };

  const step = (way) => {
    const shown = [...list.children].filter((row) => !row.hidden && row.dataset.triage);
    if (!shown.length) return;
    const at = shown.indexOf(current) + way;
    point(shown[current ? Math.min(Math.max(at, 0), shown.length - 1) : 0]);
  };

  const fade = (share) => {
    map.value = share;
    map.setAttribute("aria-valuetext", `${share} %`);
    root.style.setProperty("--map", share / 100);
    if (Number(share)) lastMap = share;
  };

  const enlarge = (button) => {
    const large = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", large);
    button.closest("li").classList.toggle("large", large);
    const film = button.querySelector("img");
    film.width = large ? film.width * 3 : film.width / 3;
    film.height = large ? film.height * 3 : film.height / 3;
  };

  const clear = () => {
    for (const each of buttons) each.setAttribute("aria-pressed", "false");
    text.value = reason.value = change.value = "";
    sort.value = "rank";
    order();
    filter();
  };

  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };

  for (const each of buttons) {
    each.addEventListener("click", () => {
      each.setAttribute("aria-pressed", each.getAttribute("aria-pressed") !== "true");
      filter();
    });
  }
  text.addEventListener("input", filter);
  for (const each of [reason, change]) each.addEventListener("change", filter);
  sort.addEventListener("change", order);
  map.addEventListener("input", () => fade(map.value));
  find("clear").addEventListener("click", clear);
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest(".film button");
    if (button) enlarge(button);
  });

  const actions = {
    j: () => step(1),
    k: () => step(-1),
    o: () => fade(Number(map.value) ? 0 : lastMap),
    e: () => {
      const button = current && current.querySelector(".film button");
      if (button) enlarge(button);
    },
    "/": () => text.focus(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && (event.target === text || !event.target.closest("details"))) {
      clear();
      text.blur();
      return;
    }
    const typing = event.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea");
    const action = actions[event.key];
    if (typing || !keys.checked || !action) return;
    event.preventDefault();
    action();
  });

  // A browser that comes back to the page fills the fields in again.
  fade(map.value);
  nameTheme();
  order();
  filter();
  document.querySelector(".tools").hidden = false;
})();
