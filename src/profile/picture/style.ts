import { BASE, type Theme, variables } from '../../html/themes.js';

/** The colours of the page. test/picture.test.ts checks their contrast. */
export const THEMES: Readonly<Record<'light' | 'dark', Theme>> = {
  light: {
    ...BASE.light,
    all: '#e6e9ed',
    app: '#ffc98f',
    package: '#f3df7c',
    node: '#b7dfb9',
    native: '#c9d3de',
    found: '#e3b5f7',
    same: '#dfe3e8',
    'more-1': '#fbdcd5',
    'more-2': '#f5b3a5',
    'more-3': '#ee8a77',
    'less-1': '#dcebfb',
    'less-2': '#aecff4',
    'less-3': '#7db1ec',
    shrunk: '#0a58a8',
  },
  dark: {
    ...BASE.dark,
    all: '#272e36',
    app: '#7d4310',
    package: '#5f520e',
    node: '#1f5234',
    native: '#38434f',
    found: '#6b2f86',
    same: '#2f3740',
    'more-1': '#4a2620',
    'more-2': '#6e2f25',
    'more-3': '#953529',
    'less-1': '#1d3350',
    'less-2': '#214673',
    'less-3': '#265c99',
    shrunk: '#7dbbff',
  },
};

/** What a frame can be, with the colour of that name. */
export const GROUNDS = [
  'all',
  'app',
  'package',
  'node',
  'native',
  'same',
  'more-1',
  'more-2',
  'more-3',
  'less-1',
  'less-2',
  'less-3',
] as const;

/** The style sheet of the page. No element has a style of its own in the text, so a hash in the page's policy allows it. */
export const STYLE = `
:root{color-scheme:light;${variables(THEMES.light)}}
@media (prefers-color-scheme:dark){:root{color-scheme:dark;${variables(THEMES.dark)}}}
${GROUNDS.map((name) => `.${name}{--ground:var(--${name})}`).join('\n')}
*{box-sizing:border-box}
[hidden]{display:none!important}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
body>*{max-width:90rem;margin-inline:auto;padding-inline:clamp(.75rem,3vw,2rem)}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:3px}
input:focus-visible,select:focus-visible{outline-offset:0}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.skip{position:absolute;left:-999rem;padding:.5rem 1rem;background:var(--card);z-index:2}
.skip:focus{left:.5rem;top:.5rem}
header{padding-block:2rem .5rem}
.over,.facts{margin:0;color:var(--soft);font-size:.875rem;overflow-wrap:anywhere}
h1{margin:.25rem 0 .5rem;font-size:clamp(1.4rem,3.4vw,2rem);line-height:1.25;letter-spacing:-.012em;text-wrap:balance;overflow-wrap:anywhere}
h2{margin:0 0 .25rem;font-size:1.2rem;line-height:1.3}
nav{padding-block:.25rem}
nav ul{display:flex;flex-wrap:wrap;gap:.1rem 1.25rem;margin:0;padding:0;list-style:none;font-size:.9375rem}
nav a{display:inline-block;padding:.25rem 0}
.controls{display:flex;flex-wrap:wrap;gap:.5rem 1.25rem;align-items:end;padding-block:.5rem}
.controls label{display:block;color:var(--soft);font-size:.875rem}
.controls>div{min-width:0;max-width:100%}
.controls .search{flex:1 1 14rem}
.found{margin:0;font-size:.875rem;flex:1 1 100%;min-height:1.5em;overflow-wrap:anywhere}
select,input,button{font:inherit;font-size:.9375rem;color:var(--ink);background:var(--card);border:1px solid var(--soft);border-radius:6px;padding:.35rem .6rem;min-height:2.1rem;max-width:100%}
input{width:100%}
button{cursor:pointer}
button:disabled{color:var(--soft);border-color:var(--edge);cursor:default}
section{background:var(--card);border:1px solid var(--edge);border-radius:12px;padding:1.1rem clamp(.7rem,2vw,1.4rem) 1.2rem;margin:1rem 0;min-width:0}
.description{margin:0 0 .75rem;color:var(--soft);font-size:.9375rem;max-width:52rem;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1rem;margin:0 0 .75rem;padding:0;list-style:none;font-size:.875rem}
.dot{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px;background:var(--ground);border:1px solid var(--soft)}
.buttons{display:flex;flex-wrap:wrap;gap:.5rem;margin-bottom:.5rem}
.flame{position:relative;min-height:24px;overflow:hidden;background:var(--tint);border-radius:4px}
.frame{position:absolute;height:23px;line-height:23px;padding:0 .3rem;overflow:hidden;white-space:nowrap;text-overflow:clip;font-size:.8125rem;background:var(--ground);color:var(--ink);box-shadow:inset -1px 0 var(--card);cursor:pointer}
.frame.above{font-style:italic}
.frame.found{background:var(--found);font-weight:700}
.frame:hover{box-shadow:inset 0 0 0 2px var(--ink)}
.frame:focus-visible{outline:3px solid var(--link);outline-offset:-3px;border-radius:0;z-index:1}
.details{min-height:6rem;margin-top:.6rem;padding:.5rem .75rem;background:var(--tint);border-radius:6px;font-size:.9375rem;overflow-wrap:anywhere}
.details p{margin:0}
.details .what{font-weight:650}
.details .where{color:var(--soft)}
.scroll{overflow-x:auto;position:relative}
.scroll:focus-visible{outline-offset:-3px}
table{border-collapse:collapse;font-size:.875rem;width:100%}
th,td{padding:.3rem .6rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--grid);white-space:nowrap}
thead th{vertical-align:bottom;color:var(--soft);font-weight:600;border-color:var(--edge)}
th:first-child{text-align:left;padding-left:.2rem}
tbody th{font-weight:400;white-space:normal;overflow-wrap:anywhere;width:60%;min-width:9rem}
th button{border:0;background:none;padding:0;min-height:1.75rem;color:inherit;font-weight:inherit;font-size:inherit;text-align:inherit;text-decoration:underline;text-decoration-color:var(--soft);text-underline-offset:3px}
th[aria-sort]{color:var(--ink)}
th[aria-sort=descending] button::after{content:" ▼"}
th[aria-sort=ascending] button::after{content:" ▲"}
tbody th{position:relative;padding-left:1.5rem!important}
tbody .dot{position:absolute;left:.2rem;top:.6rem;margin:0}
.name,.detail{unicode-bidi:isolate}
.name{font-weight:550}
.detail,.share{color:var(--soft)}
.share{display:inline-block;min-width:4.2em}
.more{color:var(--bad)}
.less{color:var(--shrunk)}
.same{color:var(--soft)}
.dot.same,.frame.same{color:var(--ink)}
.count{margin:.5rem 0 0;color:var(--soft);font-size:.875rem}
footer{padding-block:.5rem 3rem;color:var(--soft);font-size:.875rem}
@media (max-width:40rem){
.share{display:block;min-width:0}
th,td{padding-inline:.35rem}
tbody th{min-width:10.5rem}
}
@media print{body{background:none}section{border:0;padding-inline:0}nav,.controls,.buttons{display:none}}
`;
