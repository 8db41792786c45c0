"use strict";
// The rollout browser, the theme, and loading again while runs go on. Text of rollouts becomes text nodes only.
(() => {
  const $ = (id) => document.getElementById(id);

  // --- theme ---
  const themes = ["", "light", "dark"];
  const named = { "": "as the system", light: "light", dark: "dark" };
  const keep = (name, value) => { try { sessionStorage.setItem(name, value); } catch { /* not allowed: not kept */ } };
  const kept = (name) => { try { return sessionStorage.getItem(name) || ""; } catch { return ""; } };
  const setTheme = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
    $("theme").textContent = "Theme: " + named[theme];
    keep("theme", theme);
  };
  setTheme(themes.includes(kept("theme")) ? kept("theme") : "");
  $("theme").addEventListener("click", () => {
    setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme || "") + 1) % themes.length]);
  });

  // --- live: load again, but not under the hands of somebody who is filtering ---
  const every = Number(document.body.dataset.every || 0);
  if (every) {
    const pause = $("pause");
    const say = () => { $("live").textContent = pause.ariaPressed === "true" ? "Live: paused." : `Live: loads again every ${every} s.`; };
    pause.addEventListener("click", () => { pause.ariaPressed = String(pause.ariaPressed !== "true"); keep("paused", pause.ariaPressed); say(); });
    if (kept("paused") === "true") { pause.ariaPressed = "true"; say(); }
    setInterval(() => {
      const busy = document.activeElement && document.activeElement.closest("#filters");
      if (pause.ariaPressed !== "true" && !busy && !String(getSelection())) location.reload();
    }, every * 1000);
  }

  if (!$("data")) return;
  const data = JSON.parse($("data").textContent);
  const PAGE = 50;
  const [RUN, STEP, SLOT, NAME, PROMPT, TURNS, FLAGS, REWARDS, SCORES, CLUES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const run = (row) => ({ experiment: data.runs[row[RUN]][0], arm: data.runs[row[RUN]][1], seed: data.runs[row[RUN]][2], name: data.runs[row[RUN]][3] });
  const id = (row) => `${run(row).experiment}/${run(row).name}/${row[SLOT]}/${row[NAME]}`;
  const byId = new Map(data.rollouts.map((row) => [id(row), row]));
  const about = (row) => data.experiments[run(row).experiment];

  // --- text that may be anything ---
  const ODD = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]|[^\S \n\t]/gu;
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const spelled = (c) => "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  const plain = (into, text) => {
    let at = 0;
    for (const hit of text.matchAll(ODD)) {
      if (hit[0] === "\n" || hit[0] === "\t") continue;
      into.append(text.slice(at, hit.index), element("span", "odd", spelled(hit[0])));
      at = hit.index + hit[0].length;
    }
    into.append(text.slice(at));
  };
  const flat = (text, most) => text.slice(0, most).replace(/\s+/gu, " ").replace(ODD, "\uFFFD");
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&");
  const said = (into, text, phrases) => {
    const wanted = phrases.filter((p) => p).sort((a, b) => b.length - a.length).map(escaped);
    let at = 0;
    if (wanted.length) {
      for (const hit of text.matchAll(new RegExp(wanted.join("|"), "giu"))) {
        plain(into, text.slice(at, hit.index));
        const mark = element("mark");
        plain(mark, hit[0]);
        into.append(mark);
        at = hit.index + hit[0].length;
      }
    }
    plain(into, text.slice(at));
  };
  const block = (role, text, cut, phrases, mine) => {
    const p = element("p", mine ? "said mine" : "said");
    p.dir = "auto";
    said(p, text, phrases);
    if (cut) p.append(element("span", "odd", `${cut} more characters`));
    return [element("p", "role", role), p];
  };

  // --- filters, kept in the address ---
  const fields = { exp: $("f-exp"), arm: $("f-arm"), seed: $("f-seed"), from: $("f-from"), to: $("f-to"), split: $("f-split"),
    detector: $("f-detector"), flag: $("f-flag"), channel: $("f-channel"), min: $("f-min"), max: $("f-max"), text: $("f-text") };
  const options = (select, pairs, all) => {
    const before = select.value;
    select.replaceChildren(...(all ? [["", all], ...pairs] : pairs).map(([value, text]) => {
      const made = element("option", "", flat(text, 80));
      made.value = value;
      return made;
    }));
    if ([...select.options].some((o) => o.value === before)) select.value = before;
  };
  const distinct = (values) => [...new Set(values)];
  const chosenRuns = () => data.runs.filter((r) => fields.exp.value === "" || String(r[0]) === fields.exp.value);
  const dependent = () => {
    const seen = fields.exp.value === "" ? data.experiments : [data.experiments[Number(fields.exp.value)]];
    options(fields.arm, distinct(chosenRuns().map((r) => r[1])).map((a) => [a, a]), "all");
    options(fields.seed, distinct(chosenRuns().map((r) => String(r[2]))).sort((a, b) => a - b).map((s) => [s, s]), "all");
    options(fields.detector, distinct(seen.flatMap((e) => e.flags)).map((f) => [f, f]));
    options(fields.channel, distinct(["paid", ...seen.flatMap((e) => e.rewards)]).map((c) => [c, c]));
  };
  options(fields.exp, data.experiments.map((e, k) => [String(k), e.name]), "all");
  dependent();

  let found = [], page = 0, open = "";
  const number = (field) => (field.value === "" ? null : Number(field.value));
  const filter = () => {
    const f = fields, from = number(f.from), to = number(f.to), min = number(f.min), max = number(f.max);
    const text = f.text.value.toLowerCase();
    const prompts = text ? data.prompts.map((p) => (p || []).some((m) => m[1].toLowerCase().includes(text))) : [];
    found = data.rollouts.filter((row) => {
      const r = run(row), e = data.experiments[r.experiment];
      if (f.exp.value !== "" && String(r.experiment) !== f.exp.value) return false;
      if (f.arm.value && r.arm !== f.arm.value) return false;
      if (f.seed.value && String(r.seed) !== f.seed.value) return false;
      if (f.split.value && (row[STEP] === null) !== (f.split.value === "eval")) return false;
      if ((from !== null || to !== null) && row[STEP] === null) return false;
      if ((from !== null && row[STEP] < from) || (to !== null && row[STEP] > to)) return false;
      if (f.flag.value) {
        const place = e.flags.indexOf(f.detector.value);
        if (place < 0) return false;
        const flag = row[FLAGS][place];
        if (f.flag.value === "none" ? flag !== null : flag !== Number(f.flag.value)) return false;
      }
      if (min !== null || max !== null) {
        const place = e.rewards.indexOf(f.channel.value), reward = place < 0 ? null : row[REWARDS][place];
        if (reward === null || (min !== null && reward < min) || (max !== null && reward > max)) return false;
      }
      return !text || prompts[row[PROMPT]] || row[TURNS].some((t) => t[0].toLowerCase().includes(text) || (t[2] || "").toLowerCase().includes(text));
    });
  };
  const address = () => {
    const parts = new URLSearchParams();
    if (open) parts.set("r", open);
    for (const [name, field] of Object.entries(fields)) {
      const usual = field.tagName === "SELECT" ? field.options[0] && field.options[0].value : "";
      if (field.value !== usual) parts.set(name, field.value);
    }
    if (page) parts.set("page", page);
    return "#" + (String(parts) || "rollouts");
  };
  const link = (row) => {
    const before = open;
    open = id(row);
    const made = address();
    open = before;
    return made;
  };
  const summary = (row) => {
    const r = run(row), e = about(row), what = element("span", "what");
    const paid = e.rewards.indexOf("paid"), words = [r.arm, `seed ${r.seed}`, row[STEP] === null ? row[SLOT].split("/")[0] : `step ${row[STEP]}`];
    if (data.experiments.length > 1) words.unshift(e.name);
    if (paid >= 0) words.push(`paid ${row[REWARDS][paid]}`);
    for (const word of words) what.append(element("span", "", flat(word, 60)));
    e.flags.forEach((name, k) => { if (row[FLAGS][k] === 1) what.append(element("span", "flagged", name)); });
    return what;
  };
  const list = () => {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const here = found.slice(page * PAGE, (page + 1) * PAGE);
    $("list").replaceChildren(...here.map((row) => {
      const item = element("li"), a = element("a");
      a.href = link(row);
      a.dataset.id = id(row);
      if (id(row) === open) a.setAttribute("aria-current", "true");
      const text = element("span", "text", flat(row[TURNS].map((t) => t[0]).join(" ⏎ "), 160) || "(nothing was said)");
      text.dir = "auto";
      a.append(summary(row), text);
      item.append(a);
      return item;
    }));
    $("count").textContent = `${found.length.toLocaleString("en")} of the ${data.rollouts.length.toLocaleString("en")} rollouts in this list${found.length ? "" : ": widen the filters"}.`;
    $("place").textContent = `page ${page + 1} of ${pages}`;
    $("earlier").disabled = page === 0;
    $("later").disabled = page >= pages - 1;
  };
  const facts = (title, names, values, show) => {
    const line = element("div"), dd = element("dd");
    names.forEach((name, k) => {
      const value = values[k];
      const span = element("span", "fact" + (name === "paid" ? " paid" : "") + (title === "flags" && value === 1 ? " flagged" : ""));
      span.textContent = flat(`${name} ${show(value)}`, 240);
      dd.append(span);
    });
    line.append(element("dt", "", title), dd);
    return line;
  };
  const show = (focus) => {
    const row = byId.get(open), into = $("one");
    for (const a of $("list").querySelectorAll("a")) {
      if (a.dataset.id === open) a.setAttribute("aria-current", "true"); else a.removeAttribute("aria-current");
    }
    if (!open) { into.replaceChildren(element("p", "", "Choose a rollout.")); return; }
    if (!row) {
      into.replaceChildren(element("p", "", `${flat(open, 200)} is not among the rollouts of this page. It is in its run's rollouts/, if it is there.`));
      return;
    }
    const r = run(row), e = about(row), made = [element("h2", "", flat(`${r.arm}, seed ${r.seed}, ${row[STEP] === null ? "held out" : `step ${row[STEP]}`}`, 120))];
    made.push(element("p", "sub", flat(`${e.name}: ${row[SLOT]}/${row[NAME]}`, 300)));
    const prompt = data.prompts[row[PROMPT]];
    if (prompt) for (const [role, text, cut] of prompt) made.push(...block(role, text, cut, []));
    else made.push(element("p", "note", "The prompt is not known here."));
    const words = row[CLUES].filter((c) => typeof c === "string" && c.length > 2);
    for (const [text, finish, reply, cut] of row[TURNS]) {
      made.push(...block(finish === "length" ? "policy (stopped at its length)" : "policy", text, cut, [...e.phrases, ...words], true));
      if (reply !== null) made.push(...block("game", reply, 0, []));
    }
    const dl = element("dl", "facts");
    const asIs = (v) => (v === null ? "-" : String(v)), flag = (v) => (v === null ? "abstains" : v ? "yes" : "no");
    dl.append(facts("rewards", e.rewards, row[REWARDS], asIs), facts("flags", e.flags, row[FLAGS], flag),
      facts("clues", e.clues, row[CLUES], asIs), facts("scores", e.scores, row[SCORES], asIs));
    made.push(dl);
    into.replaceChildren(...made);
    into.scrollTop = 0;
    if (focus) into.focus({ preventScroll: false });
  };

  // --- from and to the address ---
  const read = (focus) => {
    const parts = new URLSearchParams(location.hash.slice(1));
    if (location.hash && ![...parts.keys()].some((k) => k === "r" || k === "page" || k in fields)) return false;
    for (const [name, field] of Object.entries(fields)) {
      if (name === "arm") dependent();
      field.value = parts.get(name) ?? (field.tagName === "SELECT" && field.options[0] ? field.options[0].value : "");
    }
    open = parts.get("r") || "";
    page = Number(parts.get("page")) || 0;
    filter();
    if (open && !parts.has("page")) page = Math.max(0, Math.floor(found.findIndex((row) => id(row) === open) / PAGE));
    list();
    show(focus);
    return true;
  };
  const changed = () => { page = 0; filter(); list(); history.replaceState(null, "", address()); };
  $("filters").addEventListener("input", (event) => { if (event.target === fields.exp) dependent(); changed(); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => setTimeout(() => { dependent(); changed(); }));
  const turn = (by) => { page += by; list(); history.replaceState(null, "", address()); $("list").scrollTop = 0; };
  $("earlier").addEventListener("click", () => turn(-1));
  $("later").addEventListener("click", () => turn(1));
  addEventListener("hashchange", () => { if (read(true) && open) $("rollouts").scrollIntoView(); });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest && event.target.closest("input, select, textarea");
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "/") { fields.text.focus(); event.preventDefault(); return; }
    if (event.key === "n" && !$("later").disabled) return turn(1);
    if (event.key === "p" && !$("earlier").disabled) return turn(-1);
    const step = { j: 1, k: -1 }[event.key];
    if (!step) return;
    const links = [...$("list").querySelectorAll("a")];
    const at = links.indexOf(document.activeElement), current = links.findIndex((a) => a.dataset.id === open);
    const next = links[at >= 0 ? at + step : current >= 0 ? current + step : 0];
    if (next) next.focus();
  });
  if (!read(false)) { filter(); list(); }
  else if (open) $("rollouts").scrollIntoView();
})();
