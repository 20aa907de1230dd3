import { BASE, type Theme, variables } from '../../../html/themes.js';
import { COLOURS, DASHES } from './looks.js';

/** The colours of the page. test/report.test.ts checks their contrast. */
export const THEMES: Readonly<Record<'light' | 'dark', Theme>> = {
  light: { ...BASE.light, ...colours(0) },
  dark: { ...BASE.dark, ...colours(1) },
};

function colours(theme: 0 | 1): Theme {
  return Object.fromEntries(Object.entries(COLOURS).map(([name, both]) => [`b-${name}`, both[theme]]));
}

/** The style sheet of the page. */
export const STYLE = `
:root{color-scheme:light;${variables(THEMES.light)}}
@media (prefers-color-scheme:dark){:root{color-scheme:dark;${variables(THEMES.dark)}}}
${Object.keys(COLOURS)
  .map((name) => `.b-${name}{--colour:var(--b-${name})}`)
  .join('\n')}
${DASHES.map((dash, at) => `.dash-${at}{stroke-dasharray:${dash}}`).join('\n')}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
body>*{max-width:80rem;margin-inline:auto;padding-inline:clamp(1rem,4vw,2.5rem)}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:3px}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.9em}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.skip{position:absolute;left:-999rem;padding:.5rem 1rem;background:var(--card);z-index:2}
.skip:focus{left:.5rem;top:.5rem}
.defs{position:absolute}
header{padding-block:2.5rem 1rem}
.over{margin:0;color:var(--soft);font-size:.875rem}
h1{margin:.25rem 0 1rem;font-size:clamp(1.4rem,3.4vw,2.1rem);line-height:1.25;letter-spacing:-.012em;text-wrap:balance;overflow-wrap:anywhere}
h2{margin:0 0 .25rem;font-size:1.3rem;line-height:1.3;letter-spacing:-.008em}
h3{margin:1.25rem 0 .5rem;font-size:1rem}
h1.long{font-size:clamp(1.2rem,2.4vw,1.5rem);letter-spacing:0}
.command{margin:0 0 .5rem;overflow-wrap:anywhere;max-height:12rem;overflow:hidden}
.command code{background:var(--tint);padding:.2rem .5rem;border-radius:5px;-webkit-box-decoration-break:clone;box-decoration-break:clone}
.facts{margin:0;color:var(--soft);font-size:.875rem}
.notice{margin:1.25rem 0 0;padding:.65rem .9rem;background:var(--notice);border-left:4px solid var(--notice-edge);border-radius:4px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.75rem;margin:1.5rem 0 0}
.tiles>div{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:.8rem 1rem}
.tiles dt{color:var(--soft);font-size:.875rem}
.tiles dd{margin:0}
.tiles b{font-size:1.6rem;letter-spacing:-.02em;line-height:1.3}
.tiles .pair{font-size:.875rem;color:var(--soft)}
nav{padding-block:.5rem}
nav ul{display:flex;flex-wrap:wrap;gap:.1rem 1.25rem;margin:0;padding:0;list-style:none;font-size:.9375rem}
nav a{display:inline-block;padding:.25rem 0}
section{background:var(--card);border:1px solid var(--edge);border-radius:12px;padding:1.25rem clamp(.9rem,2.5vw,1.6rem) 1.4rem;margin:1rem 0;min-width:0}
figure{margin:0}
.description{margin:0 0 1rem;color:var(--soft);font-size:.9375rem;max-width:46rem;overflow-wrap:anywhere}
.interval,.runs{color:var(--soft);font-size:.875em;white-space:nowrap}
.good{color:var(--good)}
.bad{color:var(--bad)}
.missing{color:var(--soft)}
.name{overflow-wrap:anywhere}
.copied{position:relative}
.copied pre{margin:0;padding:.9rem 5.5rem .9rem 1rem;background:var(--tint);border-radius:8px;white-space:pre-wrap;overflow-wrap:anywhere}
button{font:inherit;font-size:.875rem;color:var(--ink);background:var(--card);border:1px solid var(--edge);border-radius:6px;padding:.25rem .7rem;min-height:1.75rem;cursor:pointer}
.copied button{position:absolute;top:.55rem;right:.55rem}
.warnings,details ul{margin:0;padding-left:1.2rem}
.warnings li{margin:.35rem 0;overflow-wrap:anywhere}
.warnings code{color:var(--soft)}
details{margin-top:1rem;font-size:.9375rem}
summary{cursor:pointer;color:var(--link);padding:.25rem 0;width:fit-content}
details[open] summary{margin-bottom:.5rem}
.scroll{overflow-x:auto;position:relative}
.scroll th:first-child{position:sticky;left:0;z-index:1;background:var(--card)}
.scroll:focus-visible{outline-offset:-3px}
table{border-collapse:collapse;font-size:.875rem;min-width:100%}
th,td{padding:.35rem .75rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--grid);white-space:nowrap}
thead th{vertical-align:bottom;color:var(--soft);font-weight:600;border-color:var(--edge);white-space:normal;min-width:5rem}
th:first-child{text-align:left;padding-left:.6rem}
tbody th{font-weight:400;white-space:normal;overflow-wrap:anywhere;min-width:9rem;max-width:22rem}
.text{text-align:left}
td.long{white-space:pre-wrap;min-width:18rem;max-width:28rem}
table.summary{font-size:.9375rem}
.summary td{min-width:9.6rem;padding-inline:.5rem;white-space:normal}
.summary thead th{padding-inline:.5rem}
.summary tbody th{min-width:14rem}
.summary tbody td,.summary tbody th{padding-block:.6rem}
.summary small{display:block;font-weight:400}
.summary .label{display:none}
.summary .median{font-weight:650}
.summary .change{display:block}
.summary .change{font-size:.875rem}
.summary .change.none{color:var(--soft)}
.summary .subject{display:grid;grid-template-columns:1.4em 14px minmax(0,1fr);column-gap:.5rem;align-items:baseline}
.summary .number{color:var(--soft);text-align:right}
.summary .tags{grid-column:3}
.tag{display:inline-block;border:1px solid var(--edge);border-radius:99px;padding:0 .55em;font-size:.8125rem;background:var(--tint)}
.shape,.swatch{vertical-align:-2px;overflow:visible}
tr.advised>*,.scroll tr.advised>th:first-child{background:var(--better)}
.scroll tr.advised>th:first-child{box-shadow:inset 3px 0 var(--good)}
.bar{display:block;overflow:visible;margin-top:.2rem;min-width:6rem}
.bar{background:linear-gradient(var(--grid),var(--grid)) center/100% 1px no-repeat}
.bar rect{fill:var(--soft)}
.bar circle{fill:var(--ink)}
.plot{display:block;overflow:visible;touch-action:pan-y}
.plot text,.strip-axis text{fill:var(--soft);font-size:12px}
.frame{padding:1rem 1.2rem 1.6rem 3.4rem}
.frame.small{padding:.5rem .6rem 1.6rem 2.9rem}
.axis-title{margin:0;color:var(--soft);font-size:.8125rem}
.axis-title.below{text-align:right}
.stretched{overflow:visible}
.grid{stroke:var(--grid)}
.axis{stroke:var(--soft)}
.reference{stroke:var(--soft);stroke-dasharray:3 3}
.line{fill:none;stroke:var(--colour);stroke-width:2.25;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.multiples .line{stroke-dasharray:none;stroke-width:2}
.line.baseline,.multiples .line.baseline{stroke:var(--soft);stroke-width:1}
.area{fill:var(--colour);opacity:.17}
.mark{fill:var(--colour);stroke:var(--card);stroke-width:1.25}
.mark.hollow{fill:var(--card);stroke:var(--colour);stroke-width:2}
.mark.dot{opacity:.8;stroke-width:.75}
.dim{opacity:.14}
.cross{stroke:var(--ink);stroke-dasharray:2 2}
rect.phase{fill:none}
rect.phase.odd{fill:var(--tint)}
.better{fill:var(--better)}
.front{stroke:var(--ink);stroke-width:1.25}
.whisker{stroke:var(--colour);stroke-width:1.5;opacity:.6}
.plot .labels text{fill:var(--ink);stroke:var(--card);stroke-width:3px;paint-order:stroke;stroke-linejoin:round}
.wide{display:none}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.25rem;margin:0 0 .75rem;padding:0;list-style:none;font-size:.9375rem}
.value{white-space:nowrap}
.cursor{display:block;font-size:.875rem;color:var(--soft);padding:0 .75rem 0 2.95rem}
.cursor[hidden]{display:none}
.cursor span{display:block}
.cursor input{display:block;width:100%;margin:.25rem 0;accent-color:var(--link)}
.cursor output{color:var(--ink)}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,16rem),1fr));gap:1.1rem 1.25rem;margin:0;padding:0;list-style:none}
.multiples li{min-width:0;display:flex;flex-direction:column;justify-content:space-between}
.multiples p{margin:0;font-size:.875rem;line-height:1.4}
.multiples .name{display:block;font-weight:600}
.multiples .figures,.multiples .value{color:var(--soft)}
.multiples .value:not(:empty)::before{content:"· "}
.strip,.strip-axis{display:grid;grid-template-columns:minmax(9rem,17rem) minmax(0,1fr) 5.5rem;column-gap:1rem;align-items:center;font-size:.875rem}
.strip svg,.strip-axis svg{grid-column:2;display:block;overflow:visible}
.strip .value{text-align:right}
.strip .interval{fill:var(--colour);opacity:.22}
.strip .median{stroke:var(--ink);stroke-width:2}
.strip .reference{stroke-dasharray:none}
.strip line,.grid{shape-rendering:crispEdges}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:0 2.5rem}
.facts-list{margin:0;font-size:.9375rem}
.facts-list div{display:grid;grid-template-columns:11rem minmax(0,1fr);gap:.75rem;padding:.2rem 0;border-bottom:1px solid var(--grid)}
.facts-list dt{color:var(--soft)}
.facts-list dd{margin:0;overflow-wrap:anywhere}
footer{padding-block:1rem 3rem;color:var(--soft);font-size:.875rem}
@media (min-width:48rem){.wide{display:inline}.narrow{display:none}}
@media (max-width:47.99rem){
table.summary,.summary tbody,.summary tr,.summary td,.summary tbody th{display:block}
.summary thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.summary tbody tr{display:grid;grid-template-columns:repeat(auto-fill,minmax(7.9rem,1fr));gap:.6rem .75rem;padding:.9rem .4rem;border-bottom:1px solid var(--edge)}
.summary tbody th{grid-column:1/-1;max-width:none;font-weight:600}
.summary tbody th,.summary tbody td{text-align:left;padding:0!important;border:0;min-width:0;white-space:normal;background:none!important}
.summary .label{display:block;color:var(--soft);font-size:.8125rem}
.scroll tr.advised>th:first-child{box-shadow:none}
.summary tr.advised{background:var(--better);box-shadow:inset 3px 0 var(--good)}
.strip,.strip-axis{grid-template-columns:minmax(0,1fr) auto;row-gap:0}
.strip svg,.strip-axis svg{grid-column:1/-1}
.strip svg{grid-row:2;overflow:hidden}
.strip .name{grid-row:1;grid-column:1}
.strip .value{grid-row:1;grid-column:2}
.strip{padding-top:.35rem}
.facts-list div{grid-template-columns:9rem minmax(0,1fr)}
.frame{padding-left:2.9rem}
.cursor{padding-left:2.45rem}
.copied pre{padding:3rem 1rem .9rem}
tbody th{min-width:7rem}
}
@media (min-width:48rem){.cursor:has(~.multiples){position:sticky;top:0;z-index:1;background:var(--card);padding:.5rem 0;margin-bottom:.5rem}}
@media print{body{background:none}section{break-inside:avoid;border:0;padding-inline:0}nav,.cursor,button{display:none}}
`;
