"use strict";
// The switches of the report. Without them the page shows everything, one entry below the other.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const LABELS = ["attention", "entropy", "product", "pooled"];

  // Entries: tabs, or a menu where there are many.
  function entries() {
    const panels = all(".entry");
    const nav = document.querySelector("nav.entries");
    if (!nav) return;
    const tabs = all(".tabs a", nav);
    const pick = nav.querySelector(".pick");
    const menu = pick.querySelector("select");
    const many = tabs.length > 5;
    pick.hidden = !many;
    nav.querySelector(".tabs").hidden = many;

    function show(index, focus) {
      panels.forEach((panel, n) => { panel.hidden = n !== index; });
      tabs.forEach((tab, n) => {
        tab.setAttribute("aria-selected", String(n === index));
        tab.tabIndex = n === index ? 0 : -1;
      });
      menu.selectedIndex = index;
      if (focus) tabs[index].focus();
    }

    function follow() {
      const target = document.getElementById(location.hash.slice(1));
      const index = target ? panels.findIndex((panel) => panel.contains(target)) : -1;
      if (index < 0) return false;
      show(index, false);
      if (target !== panels[index]) target.scrollIntoView();
      return true;
    }

    if (!many) {
      nav.querySelector(".tabs").setAttribute("role", "tablist");
      tabs.forEach((tab, n) => {
        tab.setAttribute("role", "tab");
        tab.setAttribute("aria-controls", panels[n].id);
        panels[n].setAttribute("role", "tabpanel");
        tab.addEventListener("click", (event) => { event.preventDefault(); show(n, true); });
        tab.addEventListener("keydown", (event) => {
          const step = { ArrowRight: n + 1, ArrowLeft: n - 1, Home: 0, End: tabs.length - 1 }[event.key];
          if (step !== undefined) {
            event.preventDefault();
            show((step + tabs.length) % tabs.length, true);
          } else if (event.key === " ") {
            event.preventDefault();
            show(n, true);
          }
        });
      });
    }
    menu.addEventListener("change", () => show(menu.selectedIndex, false));
    addEventListener("hashchange", follow);
    if (!follow()) show(0, false);
  }

  // Tokens: four ways to colour them, and the numbers of the one that is pointed at.
  function heat(root) {
    const tokens = all(".t", root);
    const bars = all(".profile rect", root);
    const rows = all(".tokens tbody tr", root);
    const readout = root.querySelector(".readout");
    if (!tokens.length || !readout) return;
    const values = bars.map((bar) => bar.dataset.v.split(" ").map((v) => (v === "-" ? 0 : Number(v))));
    const members = tokens.map((token) => token.dataset.t.split(" ").map(Number));
    let view = Number(root.dataset.view);
    let pinned = -1;

    function paint() {
      tokens.forEach((token, n) => {
        const level = Math.round(Math.max(...members[n].map((i) => values[i][view])) / 5);
        token.className = token.className.replace(/\bh\d+\b/, `h${level}`);
      });
      bars.forEach((bar, n) => {
        const height = Math.max(2, values[n][view]);
        bar.setAttribute("y", String(100 - height));
        bar.setAttribute("height", String(height));
      });
    }

    function piece(tag, text) {
      const element = document.createElement(tag);
      element.textContent = text;
      return element;
    }

    function line(index) {
      const cells = [...rows[index].cells].map((cell) => cell.textContent);
      const word = rows[index].cells[2].querySelector("bdi").textContent;
      const out = document.createElement("span");
      out.className = "line";
      const name = piece("b", "");
      name.append(piece("bdi", cells[1].trim() || "␣"));
      out.append(name);
      if (word && word !== cells[1].trim()) {
        const whole = piece("span", " in ");
        whole.append(piece("bdi", word));
        out.append(whole);
      }
      LABELS.forEach((label, n) => {
        const part = piece("span", `${label} `);
        part.append(piece("b", cells[3 + n]));
        if (n === view) part.className = "now";
        out.append(part);
      });
      if (rows[index].classList.contains("key")) out.append(piece("span", "keyword"));
      return out;
    }

    function read(n) {
      tokens.forEach((token, i) => token.classList.toggle("on", i === n));
      const chosen = n < 0 ? [] : members[n];
      bars.forEach((bar, i) => bar.classList.toggle("on", chosen.includes(i)));
      if (n < 0) {
        readout.replaceChildren(piece("span", "Point at a token or tap it for its numbers; or use the arrow keys."));
      } else {
        readout.replaceChildren(...chosen.map(line));
      }
    }

    const place = (event) => {
      const token = event.target.closest(".t");
      if (token) return tokens.indexOf(token);
      const bar = bars.indexOf(event.target);
      return bar < 0 ? -1 : members.findIndex((m) => m.includes(bar));
    };

    function focusable(n) {
      tokens.forEach((token, i) => { token.tabIndex = i === n ? 0 : -1; });
    }

    for (const area of [root.querySelector(".words"), root.querySelector(".profile")]) {
      area.addEventListener("pointerover", (event) => { const n = place(event); if (n >= 0) read(n); });
      area.addEventListener("pointerleave", () => read(pinned));
      area.addEventListener("click", (event) => {
        const n = place(event);
        if (n < 0) return;
        pinned = n;
        focusable(n);
        tokens[n].focus();
        read(n);
      });
    }
    const words = root.querySelector(".words");
    words.addEventListener("focusin", (event) => { pinned = place(event); read(pinned); });
    words.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { pinned = -1; read(-1); return; }
      const n = place(event);
      const next = { ArrowRight: n + 1, ArrowLeft: n - 1, Home: 0, End: tokens.length - 1 }[event.key];
      if (next === undefined || !tokens[next]) return;
      event.preventDefault();
      focusable(next);
      tokens[next].focus();
    });

    root.querySelector(".views").hidden = false;
    readout.hidden = false;
    all(".views input", root).forEach((input) => {
      input.addEventListener("change", () => {
        view = Number(input.value);
        root.dataset.view = input.value;
        root.querySelector(".top-value").textContent = input.dataset.top;
        const name = piece("b", `${input.nextElementSibling.textContent}.`);
        root.querySelector(".about").replaceChildren(name, ` ${input.dataset.about}`);
        paint();
        read(pinned);
      });
      if (input.checked && Number(input.value) !== view) input.dispatchEvent(new Event("change"));
    });
    words.setAttribute("role", "group");
    words.setAttribute("aria-label", "Reasoning, token by token: the arrow keys move");
    focusable(0);
    read(-1);
  }

  function rankings() {
    for (const button of all(".open-all")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        const open = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(open));
        button.textContent = open ? "Close all" : "Open all";
        all("details", button.closest(".ranking")).forEach((row) => { row.open = open; });
      });
    }
    // A link to a target that is folded away opens what hides it.
    for (const link of all(".aim a")) {
      link.addEventListener("click", () => {
        const row = document.getElementById(link.getAttribute("href").slice(1));
        const fold = row && row.closest("details.fold");
        if (fold) fold.open = true;
      });
    }
  }

  entries();
  all(".heat").forEach(heat);
  rankings();
})();
