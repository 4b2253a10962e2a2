// Figures as people read them; what is not known is a dash.

const TIMES = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export const number = (value) => (value == null ? "–" : value < 99.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));
export const percent = (value) => (value == null ? "–" : `${Math.round(100 * value)} %`);
export const whole = (value) => (value == null ? "–" : Math.round(value).toLocaleString("en"));
export const milliseconds = (value) => (value == null ? "–" : `${number(value)} ms`);

/** Seconds in their largest unit. */
export function since(seconds) {
  if (seconds == null) return "";
  const [size, unit] = TIMES.find(([least]) => seconds >= least) ?? TIMES.at(-1);
  return `${Math.floor(seconds / size)} ${unit}`;
}
