"""How reports look: a page of a journal on a screen, on a phone and on paper."""

STYLE = """
:root { color-scheme: light; --ink: #1c1c1c; --soft: #5a5a5a; --line: #d4d4d4; --accent: #0a4d7c; --paper: #fff;
        --sans: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif;
        --serif: 'Iowan Old Style', 'Palatino Linotype', Palatino, 'Book Antiqua', Georgia, 'Liberation Serif', serif;
        --mono: ui-monospace, 'SF Mono', Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-behavior: smooth; }
body { font: 17px/1.6 var(--serif); color: var(--ink); background: var(--paper); max-width: 54rem; margin: 0 auto;
       padding: 3rem 1.5rem 4rem; overflow-wrap: break-word; }
h1, h2, h3 { font-weight: 600; line-height: 1.25; }
h1 { font-size: 2.1rem; margin: .1rem 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.4rem; margin: 3rem 0 .8rem; padding-top: .7rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .4rem; }
p { margin: .6rem 0; max-width: 44rem; }
b { font-weight: 600; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .15em; }
.kicker, .about, nav, table, figcaption, summary, dl { font-family: var(--sans); }
.kicker { margin: 0; font-size: 15px; letter-spacing: .04em; color: var(--accent); }
.lead { font-size: 1.2rem; line-height: 1.5; }
.about, figcaption { color: var(--soft); font-size: 15px; line-height: 1.5; }
nav { margin: 1.6rem 0 0; padding: .7rem 0; border: solid var(--line); border-width: 1px 0; font-size: 15px; }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; }
nav a { text-decoration: none; display: inline-block; padding: .15rem 0; }
nav a:hover { text-decoration: underline; }
.wide { overflow-x: auto; margin: .8rem 0 1.2rem; }
.wide:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.wide { background: linear-gradient(to right, rgba(255, 255, 255, 0), #fff 70%) right / 3rem 100% no-repeat local,
                  linear-gradient(to right, rgba(0, 0, 0, 0), rgba(0, 0, 0, .13)) right / .7rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: 15px; line-height: 1.4; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 .4rem; }
th, td { padding: .35rem 1.5rem .35rem 0; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 400; }
thead th { font-weight: 500; color: var(--soft); white-space: normal; vertical-align: bottom; }
th:last-child, td:last-child { padding-right: 0; }
th:first-child { text-align: left; white-space: normal; min-width: 8rem; max-width: 24rem; }
tbody tr > * { border-bottom: 1px solid #ececec; }
thead tr > *, tbody tr:last-child > * { border-bottom: 1px solid var(--ink); }
td small { display: block; color: var(--soft); font-size: 15px; line-height: 1.2; }
.facts { width: 100%; margin: .8rem 0 1.2rem; }
.facts th { color: var(--soft); width: 11rem; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1.2rem 2rem;
           margin: 1.4rem 0; }
.numbers div { border-top: 1px solid var(--ink); padding-top: .5rem; }
.numbers dt { color: var(--soft); font-size: 15px; line-height: 1.4; min-height: 2.8em; }
.numbers dd { margin: 0; font-size: 15px; line-height: 1.45; color: var(--soft); }
.numbers dd.value { font-size: 1.75rem; line-height: 1.3; color: var(--ink); font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0 2rem; }
figure.broad label { position: relative; left: 50%; transform: translateX(-50%); width: max-content;
                     max-width: min(76rem, 100vw - 4rem); }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { max-width: 44rem; margin-top: .6rem; }
input.larger { position: absolute; opacity: 0; width: 1px; height: 1px; }
input.larger + label { display: block; overflow-x: auto; cursor: zoom-in; }
input.larger:checked + label { cursor: zoom-out; }
input.larger:checked + label img { max-width: none; }
input.larger:focus-visible + label { outline: 2px solid var(--accent); outline-offset: 2px; }
details { margin: .8rem 0; }
summary { cursor: pointer; font-size: 15px; padding: .3rem 0; color: var(--accent); }
pre { font: 15px/1.45 var(--mono); background: #f6f6f4; padding: .8rem 1rem; margin: .6rem 0; overflow-x: auto; }
pre.wrapped { white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-top: .7rem; border-top: 1px solid var(--line); }
@media (max-width: 40rem) { body { font-size: 16px; padding: 1.4rem 1.1rem 3rem; } h1 { font-size: 1.65rem; }
    h2 { font-size: 1.25rem; margin-top: 2.2rem; } .lead { font-size: 1.1rem; } .numbers dt { min-height: 0; }
    .wide th:first-child { position: sticky; left: 0; background: #fff; min-width: 7rem;
                                                 max-width: 9.5rem; }
    .wide th, .wide td { padding-right: 1.1rem; }
    figure.broad label { position: static; transform: none; width: auto; max-width: none; }
    .facts th, .facts td { display: block; width: auto; max-width: none; padding: .1rem 0; border: 0; }
    .facts th { padding-top: .5rem; } .facts tr:last-child > * { border: 0; } }
@media (min-width: 40.01rem) { .tap { display: none; } }
@media print { @page { margin: 16mm; }
    body { font-size: 10pt; max-width: none; margin: 0; padding: 0; } h1 { font-size: 18pt; } .lead { font-size: 11pt; }
    p, figcaption { max-width: none; } nav, .tap { display: none; } h2, h3 { break-after: avoid; }
    table, td small, caption, figcaption, .about, .numbers dt, .numbers dd, summary { font-size: 8.5pt; }
    pre { font-size: 7.5pt; white-space: pre-wrap; overflow-wrap: anywhere; } .numbers dd.value { font-size: 14pt; }
    .wide th:first-child { min-width: 0; } details table, details td small { font-size: 7.5pt; }
    th, td { padding-right: .55rem; } tr, figure, .numbers div { break-inside: avoid; }
    .wide { overflow: visible; background: none; }
    figure img { max-height: 225mm; width: auto; }
    figure.broad label { position: static; transform: none; width: auto; max-width: none; }
    details::details-content { content-visibility: visible; block-size: auto; }
    a { color: inherit; text-decoration: none; } }
"""
