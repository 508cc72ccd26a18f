"""The style sheet of report.html; colours follow the browser's light or dark setting."""

STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5d6670; --ground: #fbfbfa; --card: #ffffff;
  --line: #dfe2e6; --good: #1a7f4b; --bad: #c0362c; --hr: #5d6670; --bicubic: #b07507; --sr: #2563c9; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --soft: #a2abb5; --ground: #14171a;
  --card: #1d2125; --line: #343a41; --good: #5fcf95; --bad: #ff8a7e; --hr: #a2abb5; --bicubic: #e0a93b;
  --sr: #7eaaff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; background: var(--ground);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 46rem; } .soft, small { color: var(--soft); }
code { font: .87em ui-monospace, monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
th, td { padding: .4rem .7rem; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } thead th { color: var(--soft); font-size: .85rem; border-top: 0; }
th:first-child, td:first-child, td.words { text-align: left; }
tbody tr.group th { text-align: left; background: color-mix(in srgb, var(--line) 40%, transparent); }
.good { color: var(--good); } .bad { color: var(--bad); }
.key { display: inline-block; width: .65rem; height: .65rem; border-radius: 50%; margin: 0 .3rem 0 .9rem; }
svg { display: block; width: 15rem; height: 2.6rem; } svg line.axis { stroke: var(--line); }
.crop { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .8rem;
  margin: .6rem 0; } .crop header { display: flex; flex-wrap: wrap; gap: 0 1rem; margin-bottom: .4rem; }
.crop header b { overflow-wrap: anywhere; } .crop header > span { color: var(--soft); }
.four { display: grid; grid-template-columns: repeat(4, minmax(9rem, 1fr)); gap: .6rem; }
@media (max-width: 44rem) { .four { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
figure { margin: 0; min-width: 0; } figure img { display: block; width: 100%; aspect-ratio: 4; }
img.lr { image-rendering: pixelated; } figcaption { font-size: .8rem; color: var(--soft); margin-top: .25rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .5rem; margin: .15rem 0 0; font-size: .8rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; }
"""
