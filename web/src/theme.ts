import { palette, theme } from "./prefs.ts";
import { Signal } from "./signal.ts";

const NAMES = ["bg", "panel", "raised", "line", "text", "dim", "accent", "up", "down", "flat", "info", "warning", "critical"] as const;

export type Colors = Record<(typeof NAMES)[number], string>;

const light = matchMedia("(prefers-color-scheme: light)");

/** The colours of app.css, for what is painted on canvases. */
export const colors = new Signal<Colors>({} as Colors);

function show(): void {
  const root = document.documentElement;
  root.dataset.theme = theme.value === "system" ? (light.matches ? "light" : "dark") : theme.value;
  root.dataset.palette = palette.value;
  const style = getComputedStyle(root);
  colors.set(Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Colors);
}

export function startTheme(): void {
  theme.on(show);
  palette.on(show);
  light.addEventListener("change", show);
  show();
}

/** A colour of app.css (#rrggbb) with an opacity. */
export function faded(color: string, opacity: number): string {
  return color + Math.round(opacity * 255).toString(16).padStart(2, "0");
}

/** The colour between two (#rrggbb), at a share from 0 to 1 of the way. */
export function between(from: string, to: string, share: number): string {
  const part = (at: number) => {
    const [a, b] = [from, to].map((color) => parseInt(color.slice(at, at + 2), 16)) as [number, number];
    return Math.round(a + (b - a) * share);
  };
  return `rgb(${part(1)} ${part(3)} ${part(5)})`;
}
