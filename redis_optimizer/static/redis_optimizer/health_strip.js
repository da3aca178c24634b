// Keeps the health strips of a page up to date. They share one poll.
(() => {
  "use strict";

  const LONGEST = 15 * 60 * 1000; // ms between two polls that fail
  const TIMEOUT = 30 * 1000; // ms that one may take
  const JITTER = 0.1; // of the delay, up or down: browsers are not to ask all at once

  // A page with several strips loads this several times; the first to run serves them all.
  const strips = [...document.querySelectorAll(".health-strip:not([data-polled])")];
  if (!strips.length) return;
  for (const strip of strips) strip.dataset.polled = "";

  const { url, age, ...first } = strips[0].dataset;
  const interval = first.poll * 1000;
  let state = first.status || "unknown";
  let names = first.names || ""; // of the checks that are not OK
  let seen = age ? Date.now() - age * 1000 : null; // when the checks ran
  let failures = 0;
  let asking = false;
  let timer;
  // What the page came with is good for one interval.
  let due = Date.now() + (age && age * 1000 < interval ? delay() : 0);

  function delay() {
    const longer = Math.max(interval, Math.min(interval * 2 ** failures, LONGEST));
    return longer * (1 + JITTER * (2 * Math.random() - 1));
  }

  // A page that nobody sees asks nothing; shown again, it asks at once if it is due.
  function wait() {
    clearTimeout(timer);
    if (!document.hidden && !asking) timer = setTimeout(ask, Math.max(0, due - Date.now()));
  }

  async function ask() {
    asking = true;
    try {
      const response = await fetch(url, {
        // The browser sends the ETag it has; for a 304 it returns what it kept, with the new Age.
        cache: "no-cache",
        headers: { Accept: "application/json" },
        signal: AbortSignal.timeout(TIMEOUT),
      });
      const body = await response.json(); // of a 503 as well
      if (!["ok", "degraded", "failing"].includes(body.status)) throw new TypeError(body.status);
      const bad = (body.checks || []).filter((check) => check.status !== "ok");
      names = bad.map((check) => check.name).join(", ");
      state = body.status;
      seen = Date.now() - (response.headers.get("Age") || 0) * 1000;
      failures = 0;
    } catch {
      failures += 1;
    }
    asking = false;
    due = Date.now() + delay();
    paint();
    wait();
  }

  function paint() {
    const stale = seen && (failures > 0 || Date.now() - seen > first.staleAfter * 1000);
    for (const strip of strips) {
      const word = (name) => strip.getAttribute(`data-word-${name}`);
      const known = word(state) + (names && `: ${names}`);
      strip.dataset.state = stale ? "stale" : state;
      write(strip.querySelector("strong"), stale ? word("stale").replace("{state}", () => known) : known);
      const time = strip.querySelector("time");
      time.parentNode.hidden = !seen;
      if (!seen) continue;
      time.dateTime = new Date(seen).toISOString();
      write(time, new Date(seen).toLocaleString());
    }
  }

  // A screen reader would read aloud what is written anew, even when it is the same.
  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  document.addEventListener("visibilitychange", () => {
    paint();
    wait();
  });
  paint();
  wait();
})();
