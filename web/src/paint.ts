// All painting goes through here: in an animation frame, never while the page is hidden.

// The server sends ten frames a second at most: a gap as long as theirs would fall behind them.
const GAP_MS = 30;

type Painter = () => void;

const due = new Set<Painter>();
const dueBefore = new Set<Painter>();
const after = new Set<Painter>();
let last = -GAP_MS;
let armed = false;

/** Paint soon. A painter that is due already is not called twice. */
export function paint(painter: Painter): void {
  due.add(painter);
  arm();
}

/** The same for what asks for an animation frame itself, so that both draw in one. */
export function paintBefore(painter: Painter): void {
  dueBefore.add(painter);
  arm();
}

/** Call this after each round of painting. */
export function painted(listener: Painter): void {
  after.add(listener);
}

function arm(): void {
  if (armed || document.hidden) return;
  armed = true;
  const wait = GAP_MS - (performance.now() - last);
  if (wait > 3) setTimeout(begin, wait);
  else begin();
}

function begin(): void {
  callAll(dueBefore);
  requestAnimationFrame(run);
}

function run(): void {
  armed = false;
  last = performance.now();
  callAll(due);
  callAll(after);
}

function callAll(painters: Set<Painter>): void {
  const round = [...painters];
  if (painters !== after) painters.clear();
  for (const painter of round) {
    try {
      painter();
    } catch (error) {
      reportError(error); // one part of the page must not stop the others
    }
  }
}

document.addEventListener("visibilitychange", () => {
  if (due.size || dueBefore.size) arm();
});

/** The same, at most once in `gapMs`. */
export function seldom(gapMs: number, painter: Painter, how = paint): Painter {
  let then = -Infinity;
  let timer = 0;
  return () => {
    if (timer) return;
    timer = window.setTimeout(() => {
      timer = 0;
      then = performance.now();
      how(painter);
    }, Math.max(0, then + gapMs - performance.now()));
  };
}
