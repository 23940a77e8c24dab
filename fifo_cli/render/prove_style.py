"""The style sheet of the report page: on paper, at 380 pixels and more, light and dark."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root { --paper: #fff; --ink: #1b1f23; --dim: #57606a; --line: #d5dae0; --card: #f6f8fa;
  --passed: #1a7f37; --failed: #c62828; --open: #8a5a00; --accent: #0b5cad; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #0f1419; --ink: #e6e9ec; --dim: #9aa5b1;
  --line: #2d3640; --card: #171e26; --passed: #4cc26a; --failed: #ff7b72; --open: #e3b341;
  --accent: #6cb6ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: anywhere; }
header { border-bottom: 1px solid var(--line); padding-bottom: 1rem; }
.what { margin: 0; color: var(--dim); }
h1 { margin: .1rem 0 .4rem; font-size: 1.7rem; line-height: 1.25; }
h2 { margin: 2.2rem 0 .7rem; font-size: 1.15rem; }
p { margin: .3rem 0; }
.note { font-weight: 600; }
.hint, dt, th, .axis-text, figure p { color: var(--dim); font-size: .875rem; }
.passed { color: var(--passed); fill: var(--passed); }
.failed { color: var(--failed); fill: var(--failed); }
.open { color: var(--open); fill: var(--open); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .5rem 1.5rem; }
dl, dd { margin: 0; }
table { width: 100%; border-collapse: collapse; margin-bottom: 1rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; }
th, td, .requests li { border-bottom: 1px solid var(--line); }
th { font-weight: 400; }
.checks td:last-child, .left td { white-space: pre-wrap; }
.verdict, .checks td:nth-child(3), .made td:not(:nth-child(2)), .left td:first-child { white-space: nowrap; }
.checks td:nth-child(2) { min-width: 11rem; }
.verdict { font-weight: 600; }
code { font: .875em ui-monospace, monospace; background: var(--card); padding: .1em .3em; }
.row { display: grid; grid-template-columns: 16rem 1fr; gap: .8rem; align-items: center; font-size: .875rem; }
.row > span:last-child:not(:first-child) { display: flex; justify-content: space-between; }
svg { display: block; width: 100%; height: 20px; overflow: visible; }
path { fill: none; }
path.axis { stroke: var(--line); stroke-width: 1px; }
path.tick { stroke: var(--accent); stroke-width: 1px; opacity: .7; }
path.marked { stroke: var(--ink); stroke-width: 2px; }
.measured { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); }
.measured { gap: .8rem; }
figure { margin: 0; padding: .6rem .9rem; background: var(--card); border-radius: 6px; }
figcaption { font-weight: 600; margin-bottom: .3rem; font-size: .9rem; }
.requests { columns: 16rem; column-gap: 2rem; list-style: none; margin: 0; padding: 0; font-size: .875rem; }
.requests li { display: flex; justify-content: space-between; gap: 1rem; break-inside: avoid; }
.requests b { font-weight: 400; font-variant-numeric: tabular-nums; }
@media (max-width: 44rem) {
  h1 { font-size: 1.35rem; }
  thead { display: none; }
  table, tbody { display: block; }
  tr { display: flex; flex-wrap: wrap; column-gap: .8rem; padding: .45rem 0; }
  tr { border-bottom: 1px solid var(--line); }
  td { border: 0; padding: 0; }
  .checks td:nth-child(2) { flex: 1; min-width: 9rem; }
  .checks td:last-child, .left td:nth-child(n + 3), .made td:nth-child(2) { flex-basis: 100%; }
  .row { grid-template-columns: 1fr; gap: 0; }
  .row.axis-text > span:first-child { display: none; }
}
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  tr, .row, figure, li { break-inside: avoid; }
  h2 { break-after: avoid; }
  * { print-color-adjust: exact; }
}
"""
