"""The style sheet of the report: light, dark and printed."""

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #1c2127; --soft: #5b6570; --faint: #8a949e; --rule: #dde2e7;
  --fill: #f4f6f8; --empty: #e8ebee; --accent: #1f5f99;
  --blue: 34,102,170; --orange: 205,102,32;
  --s0: #2266aa; --s1: #cc6a1c; --s2: #2c8a62; --s3: #8b4aa8; --s4: #9a7a12; --s5: #5b6570;
  --k5: #b23a6b;
  --con: #e3eefa; --con-line: #2266aa; --sep: #e2f3ea; --sep-line: #2c8a62;
  --skip: #f4f6f8; --skip-line: #8a949e; --warn: #fdf3e3; --warn-line: #cc6a1c;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --ink: #e4e8ec; --soft: #a3adb7; --faint: #7c8690; --rule: #30363d;
    --fill: #1d2126; --empty: #2a2f35; --accent: #7db5ec;
    --blue: 90,160,230; --orange: 235,140,70;
    --s0: #6aaef0; --s1: #f0a05a; --s2: #62c79a; --s3: #c490dc; --s4: #d6b84e; --s5: #a3adb7;
    --k5: #f08ab0;
    --con: #1b2f44; --con-line: #6aaef0; --sep: #1a3429; --sep-line: #62c79a;
    --skip: #23282e; --skip-line: #7c8690; --warn: #33281a; --warn-line: #f0a05a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif;
}
main { max-width: 1104px; margin: 0 auto; padding: 44px 32px 64px; }
header { margin-bottom: 28px; }
.kind { margin: 0 0 4px; color: var(--soft); font-size: 13px; }
h1 { margin: 0; font-size: 34px; line-height: 1.15; font-weight: 650; letter-spacing: -.015em;
  overflow-wrap: anywhere; }
h1 + p { margin: 8px 0 0; color: var(--soft); max-width: 46em; }
h2 { margin: 0 0 14px; font-size: 20px; font-weight: 650; letter-spacing: -.005em; }
h3 { margin: 26px 0 8px; font-size: 15px; font-weight: 650; }
section { margin-top: 44px; padding-top: 22px; border-top: 1px solid var(--rule); }
p { margin: 0 0 12px; max-width: 46em; }
.soft, figcaption { color: var(--soft); font-size: 13.5px; line-height: 1.5; }
figcaption { margin-top: 8px; max-width: 60em; }
code, .mono, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono",
  monospace; }
code { font-size: .92em; overflow-wrap: anywhere; }
.banner, .caution {
  margin: 0 0 22px; padding: 10px 16px; max-width: none;
  background: var(--warn); border-left: 4px solid var(--warn-line);
}
.caution { margin: 12px 0; }
.head { display: grid; grid-template-columns: 1.35fr 1fr; gap: 24px 48px; align-items: start; }
.scores { display: flex; flex-wrap: wrap; gap: 10px 44px; margin: 0 0 10px; }
.scores dt { color: var(--soft); font-size: 13.5px; }
.scores dd { margin: 0; font-size: 42px; line-height: 1.15; font-weight: 650;
  letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.scores small { font-size: 20px; font-weight: 400; color: var(--soft); letter-spacing: 0; }
.facts { display: grid; align-content: start;
  grid-template-columns: max-content 1fr; gap: 3px 22px; margin: 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.facts.left dd { text-align: left; }
.scroll { overflow-x: auto; }
figure { margin: 0 0 22px; }
svg { display: block; max-width: 100%; height: auto; }
.wide .heat { min-width: 760px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 20px 40px; }
.scroll + .soft, .legend + .soft { margin-top: 9px; }
.trio { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px 28px; }
.maps { display: grid; gap: 20px; align-items: start; }
.maps.n1 { grid-template-columns: 1fr; } .maps.n2 { grid-template-columns: 1fr 1fr; }
.maps.n4 { grid-template-columns: repeat(4, 1fr); }
.maps figure { margin: 0; }
.maps figcaption { margin: 6px 0 0; }
.maps b { color: var(--ink); font-weight: 600; }
.pixels { image-rendering: pixelated; }
.maps img { display: block; width: 100%; background: var(--empty); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 16px 0 0; padding: 0;
  list-style: none; font-size: 13.5px; max-width: none; }
.legend b { font-weight: 600; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 7px; border-radius: 2px;
  box-shadow: inset 0 0 0 1px rgba(0,0,0,.18); }
.swatch.none { background: var(--empty); }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th { font-weight: 400; text-align: left; }
thead th { color: var(--soft); font-size: 13px; vertical-align: bottom;
  border-bottom: 1px solid var(--faint); }
th, td { padding: 5px 22px 5px 0; vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
tbody tr { border-bottom: 1px solid var(--rule); }
tr.apart th, tr.apart td { border-top: 1px solid var(--faint); font-weight: 650; }
tr.apart ~ tr.apart th, tr.apart ~ tr.apart td { border-top: 0; }
.full th[scope=row] { padding-left: 18px; text-indent: -18px; min-width: 9em; }
.legend li, .full th[scope=row], .confusion tbody th { overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.full { width: 100%; }
.bar { display: inline-block; width: 110px; height: 8px; 
  background: var(--empty);
  border-radius: 2px; overflow: hidden; }
.bar i { display: block; height: 100%; background: rgb(var(--blue)); }
.confusion { font-size: 12.5px; }
.confusion th, .confusion td, .confusion th:last-child,
  .confusion td:last-child { padding: 4px 7px; border: 0; }
.confusion tbody tr { border: 0; }
.confusion td { min-width: 42px; text-align: right; border: 1px solid var(--paper); }
.confusion td.hit { background: rgba(var(--blue), var(--p)); }
.confusion td.miss { background: rgba(var(--orange), var(--p)); }
.confusion td.strong { color: var(--paper); }
.confusion td.zero { color: var(--faint); background: var(--fill); }
.confusion thead th { border: 0; text-align: right; white-space: nowrap; }
.confusion tbody th { min-width: 9em; }
.confusion .total { color: var(--soft); background: none; }
.scale { font-size: 13px; color: var(--soft); }
.scale i { display: inline-block; width: 130px; height: 10px; margin: 0 8px;
  border: 1px solid var(--rule); }
pre { margin: 0; padding: 14px 16px; background: var(--fill); font-size: 12.5px; line-height: 1.5;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.columns { column-width: 300px; column-gap: 32px; }
svg text { fill: var(--ink); font-size: 12.5px; }
svg .title { font-size: 13.5px; font-weight: 650; }
svg .small, svg .tick { fill: var(--soft); font-size: 11.5px; }
svg .mono { font-size: 11.5px; }
svg .strong { fill: var(--ink); font-weight: 650; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
svg .halo { font-size: 11.5px; paint-order: stroke; stroke: var(--paper); stroke-width: 4px;
  stroke-linejoin: round; }
.chart .grid { stroke: var(--rule); fill: none; } .chart .axis { stroke: var(--faint);
  fill: none; }
.chart .divider { stroke: var(--faint); stroke-dasharray: 4 3; fill: none; }
.chart .share { fill: rgb(var(--blue)); }
.chart .shade { fill: var(--fill); }
.chart .dot { fill: var(--paper); stroke-width: 1.6; }
.chart .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.s0 { stroke: var(--s0); } .s1 { stroke: var(--s1); } .s2 { stroke: var(--s2); }
.s3 { stroke: var(--s3); } .s4 { stroke: var(--s4); } .s5 { stroke: var(--s5); }
.chart .mark { fill: var(--paper); stroke: var(--ink); stroke-width: 1.6; }
.chart .frame { fill: none; stroke: var(--rule); }
.chart .outline { fill: none; stroke: var(--ink); stroke-width: 1.3; }
.graph text, .widths text { text-anchor: middle; }
.widths .end { text-anchor: end; }
.graph .node { fill: var(--paper); stroke: var(--ink); stroke-width: 1.3; }
.graph .input, .graph .output { fill: var(--fill); stroke: var(--faint); }
.graph .unused { stroke-dasharray: 4 3; }
.graph .label { fill: var(--skip); stroke: var(--skip-line); }
.graph .label.con { fill: var(--con); stroke: var(--con-line); }
.graph .label.sep { fill: var(--sep); stroke: var(--sep-line); }
.graph .label.skip { stroke-dasharray: 4 3; }
.graph .plain, .graph .label.plain { fill: var(--skip); stroke: var(--skip-line);
  stroke-dasharray: 4 3; }
.k0 { --kind: var(--s0); } .k1 { --kind: var(--s1); } .k2 { --kind: var(--s2); }
.k3 { --kind: var(--s3); } .k4 { --kind: var(--s4); } .k5 { --kind: var(--k5); }
.graph [class*=" k"] { fill: var(--kind); fill-opacity: .14; stroke: var(--kind); }
.swatch[class*=" k"] { background: var(--kind); }
.graph .edge { fill: none; stroke: var(--soft); stroke-width: 1.3; }
.graph .head { fill: var(--soft); }
.widths .move { stroke: var(--rule); stroke-width: 1.5; } .widths .move.taken {
  stroke: var(--accent); stroke-width: 3.5; }
.widths .state { fill: var(--paper); stroke: var(--faint); stroke-width: 1.5; }
.widths .state.taken { fill: var(--accent); stroke: var(--accent); }
footer { margin-top: 44px; padding-top: 14px; border-top: 1px solid var(--rule);
  color: var(--soft); font-size: 13px; }
@media screen and (max-width: 760px) {
  main { padding: 26px 18px 40px; }
  h1 { font-size: 27px; }
  .head, .pair { grid-template-columns: 1fr; }
  .trio { grid-template-columns: 1fr 1fr; }
  .maps.n4 { grid-template-columns: 1fr 1fr; }
  .scores { gap: 8px 28px; } .scores dd { font-size: 33px; }
  .full td:last-child, .full thead th:last-child { display: none; }
  th, td { padding-right: 14px; }
}
@media screen and (max-width: 560px) {
  .trio { grid-template-columns: 1fr; }
}
@media print {
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  section { margin-top: 24px; padding-top: 12px; }
  h2, h3 { break-after: avoid; } figure, tr, .caution, .scores { break-inside: avoid; }
  .scroll { overflow: visible; } svg { min-width: 0 !important; }
}
"""
