export type Theme = Readonly<Record<string, string>>;

/** The colours that all pages of this package share. test/report.test.ts checks their contrast. */
export const BASE: Readonly<Record<'light' | 'dark', Theme>> = {
  light: {
    page: '#f5f6f8',
    card: '#ffffff',
    ink: '#171c22',
    soft: '#55606c',
    edge: '#d5dae0',
    grid: '#e6e9ed',
    tint: '#eef1f4',
    link: '#0a58a8',
    good: '#0b6b3a',
    bad: '#a5290f',
    notice: '#fdf3d6',
    'notice-edge': '#b98500',
    better: '#e6f4ea',
  },
  dark: {
    page: '#0f1317',
    card: '#171c22',
    ink: '#e8ecf0',
    soft: '#a3aeb9',
    edge: '#343d47',
    grid: '#272e36',
    tint: '#20272f',
    link: '#7dbbff',
    good: '#6fd39a',
    bad: '#ff9d85',
    notice: '#332a10',
    'notice-edge': '#d3a53a',
    better: '#17301f',
  },
};

/** As properties of a style sheet: `--ink:#171c22`. */
export const variables = (theme: Theme): string =>
  Object.entries(theme)
    .map(([name, value]) => `--${name}:${value}`)
    .join(';');
