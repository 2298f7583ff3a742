"""Look and behaviour of the HTML page: colours of both themes, the style sheet and the script."""

COLOURS = {
    "light": {
        "paper": "#ffffff",
        "panel": "#f6f8f9",
        "ink": "#1b2126",
        "muted": "#66717c",
        "rule": "#dfe4e8",
        "grid": "#e8ecef",
        "blue": "#0f62a6",
        "orange": "#c4570c",
        "red": "#b3261e",
        "green": "#1d7a55",
        "yellow": "#a67c00",
        "violet": "#7a4fb5",
        "pass": "#bcdccf",
    },
    "dark": {
        "paper": "#15181b",
        "panel": "#1c2024",
        "ink": "#e7eaec",
        "muted": "#98a3ad",
        "rule": "#30363c",
        "grid": "#272c31",
        "blue": "#6fb4ee",
        "orange": "#f29a5c",
        "red": "#ff8b80",
        "green": "#67c79b",
        "yellow": "#dcb94d",
        "violet": "#b99cf0",
        "pass": "#2c5b4c",
    },
}


def _variables(theme: str) -> str:
    return " ".join(f"--{name}: {value};" for name, value in COLOURS[theme].items())


CSS = (
    f":root {{ color-scheme: light dark; {_variables('light')} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables('dark')} }} }}\n"
    f"@media print {{ :root {{ {_variables('light')} }} .figure {{ break-inside: avoid; }} }}\n"
    """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 28px 80px; }
header p { color: var(--muted); margin: 0 0 4px; font-size: 14px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 24px; letter-spacing: -0.01em; font-weight: 650; }
h2 { font-size: 20px; margin: 52px 0 6px; font-weight: 650; letter-spacing: -0.005em; }
h3 { font-size: 15px; margin: 30px 0 2px; font-weight: 600; }
p { margin: 0 0 12px; max-width: 76ch; }
.note, figcaption { color: var(--muted); font-size: 14px; max-width: 86ch; }
.verdict { border-left: 6px solid var(--tone); background: var(--panel); padding: 20px 24px 14px;
  border-radius: 0 6px 6px 0; }
.verdict .label { display: inline-block; color: var(--paper); background: var(--tone); font-size: 13px;
  font-weight: 650; letter-spacing: 0.06em; text-transform: uppercase; padding: 2px 10px; border-radius: 3px;
  }
.verdict .headline { font-size: 22px; line-height: 1.3; font-weight: 600; margin: 10px 0 10px; max-width:
none; } .verdict ul { margin: 0; padding: 0; list-style: none; } .verdict li { margin: 0 0 8px; max-width:
92ch; } .edge { --tone: var(--green); } .no-edge { --tone: var(--muted); } .alarm { --tone: var(--red); }
.scope { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, auto)); gap: 6px 28px; margin:
22px 0 0; } .scope dt { color: var(--muted); font-size: 13px; } .scope dd { margin: 0; font-variant-numeric:
tabular-nums; } .scroll { overflow-x: auto; margin: 14px 0 8px; } table { border-collapse: collapse; width:
100%; font-size: 14.5px; font-variant-numeric: tabular-nums; } caption { text-align: left; color:
var(--muted); font-size: 14px; padding: 0 0 8px; } th, td { text-align: right; padding: 7px 0 7px 18px;
border-bottom: 1px solid var(--rule); white-space: nowrap;
  vertical-align: middle; }
th { font-weight: 600; } thead th { color: var(--muted); font-weight: 500; font-size: 13px; vertical-align:
bottom;
  white-space: normal; border-bottom: 1px solid var(--muted); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody th { font-weight: 500; }
.left, thead th.left { text-align: left; } td.wrap { white-space: normal; min-width: 22em; }
td.text { white-space: normal; min-width: 15em; }
.under { display: block; color: var(--muted); font-size: 12.5px; }
td.narrow { white-space: normal; min-width: 12em; max-width: 17em; font-size: 13.5px; }
.quiet { color: var(--muted); } .refused { color: var(--red); font-weight: 600; }
.range { display: block; width: 180px; height: 20px; overflow: visible; }
.range .axis { stroke: var(--rule); stroke-width: 1; } .range .whisker { stroke: var(--blue); stroke-width: 5;
  stroke-linecap: round; opacity: 0.4; } .range .dot { fill: var(--blue); }
.range .base { stroke: var(--ink); stroke-width: 1.5; } .range .oracle { fill: var(--orange); } .key {
display: inline-block; vertical-align: -4px; width: 26px; height: 16px; margin: 0 4px 0 12px; overflow:
visible; } .figure { margin: 26px 0 10px; } .figure h3 { margin-top: 0; } .figure .plot { width: 100%; } .pair
> * { min-width: 0; } .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 40px; } @media (max-width:
860px) { .pair { grid-template-columns: 1fr; } main { padding: 24px 16px 60px; } } ul.limits { padding-left:
20px; max-width: 90ch; } ul.limits li { margin: 0 0 6px; } code { font: 13px/1.4 ui-monospace, SFMono-Regular,
Menlo, Consolas, monospace; }
a { color: var(--blue); }
pre { background: var(--panel); padding: 14px 18px; border-radius: 6px; overflow-x: auto;
  font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { margin-top: 56px; color: var(--muted); font-size: 13px; }
"""
)

SCRIPT = """
(function () {
  const specs = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function paint(value, style) {
    if (typeof value === "string")
      return value[0] === "@" ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    if (Array.isArray(value)) return value.map(function (v) { return paint(v, style); });
    if (value && typeof value === "object") {
      const copy = {};
      for (const key in value) copy[key] = paint(value[key], style);
      return copy;
    }
    return value;
  }
  function axis(own) {
    if (own && own.title) own = Object.assign({}, own, { title: { text: own.title.text,
      font: { size: 12, color: "@muted" }, standoff: 8 } });
    return Object.assign({ gridcolor: "@grid", zerolinecolor: "@muted", zerolinewidth: 1, linecolor: "@rule",
      tickfont: { color: "@muted", size: 12 }, automargin: true, fixedrange: true }, own || {});
  }
  function draw() {
    const style = getComputedStyle(document.documentElement);
    for (const id in specs) {
      const node = document.getElementById("figure-" + id);
      if (!node) continue;
      const own = specs[id].layout;
      const layout = Object.assign({ paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        height: specs[id].height, margin: { l: 48, r: 12, t: 12, b: 36 }, hovermode: "closest",
        hoverlabel: { bgcolor: "@panel", bordercolor: "@rule", font: { color: "@ink" } } }, own);
      layout.font = Object.assign({ family: getComputedStyle(document.body).fontFamily, size: 13, color:
      "@ink" },
        own.font || {});
      layout.xaxis = axis(own.xaxis);
      layout.yaxis = axis(own.yaxis);
      layout.legend = Object.assign({ font: { size: 12 } }, own.legend || {});
      Plotly.react(node, paint(specs[id].data, style), paint(layout, style),
        { responsive: true, displaylogo: false, displayModeBar: false });
    }
  }
  draw();
  dark.addEventListener("change", draw);
})();
"""
