// Keeps the health strips of a page up to date. They share one poll.
(() => {
  "use strict";

  const LONGEST = 15 * 60 * 1000; // ms between two polls that fail
  const TIMEOUT = 30 * 1000; // ms that one may take
  const JITTER = 0.1; // of the delay, up or down: browsers are not to ask all at once
  const LOOK = 15 * 1000; // ms between two looks at whether all is as it was planned

  // A page with several strips loads this several times; the first to run serves them all. No
  // attribute says so, for a copy of a strip would have it, too.
  const strips = [...document.querySelectorAll(".health-strip")].filter((strip) => !strip.polled);
  if (!strips.length) return;
  for (const strip of strips) strip.polled = true;

  const { url, age, ...first } = strips[0].dataset;
  const interval = first.poll * 1000;
  let state = first.status || "unknown";
  let names = first.names || ""; // of the checks that are not OK
  let seen = age ? Date.now() - age * 1000 : null; // when the checks ran
  let failures = 0;
  let asking = false;
  let timer, pause, due;
  const end = new AbortController(); // of the listeners

  function delay() {
    const longer = Math.max(interval, Math.min(interval * 2 ** failures, LONGEST));
    return longer * (1 + JITTER * (2 * Math.random() - 1));
  }

  function plan(ms) {
    pause = ms;
    due = Date.now() + ms;
  }

  // A page that nobody sees asks nothing; shown again, it asks at once if it is due. It waits no
  // longer than was planned, wherever the clock was set meanwhile.
  function wait() {
    clearTimeout(timer);
    if (document.hidden || asking || end.signal.aborted) return;
    timer = setTimeout(ask, Math.max(0, Math.min(due - Date.now(), pause)));
  }

  async function ask() {
    asking = true;
    paint(); // it may take long, and what is shown may be old
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
    plan(delay());
    paint();
    wait();
  }

  function paint() {
    const stale = seen && (failures > 0 || Math.abs(Date.now() - seen) > first.staleAfter * 1000);
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

  document.addEventListener(
    "visibilitychange",
    () => {
      paint();
      wait();
    },
    { signal: end.signal },
  );

  // What has failed may work now: the network is back, or the page is.
  for (const event of ["online", "pageshow"]) {
    addEventListener(
      event,
      () => {
        if (!failures) return;
        plan(0);
        wait();
      },
      { signal: end.signal },
    );
  }

  const watch = setInterval(() => {
    if (!strips.some((strip) => strip.isConnected)) {
      // The page has become another one without being loaded.
      for (const strip of strips) strip.polled = false;
      clearTimeout(timer);
      clearInterval(watch);
      end.abort();
    } else if (Date.now() - due > 1000) {
      // While the computer slept, the timer did, too.
      wait();
    }
  }, LOOK);

  // What the page came with is good for one interval.
  plan(age && age * 1000 < interval ? delay() : 0);
  paint();
  wait();
})();
