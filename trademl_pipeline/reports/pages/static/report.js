(function () {
  const specs = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // "@blue" is the style sheet's --blue, at any depth of a specification.
  function paint(value, style) {
    if (typeof value === "string") {
      return value[0] === "@" ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.map(function (v) {
        return paint(v, style);
      });
    }
    if (value && typeof value === "object") {
      const copy = {};
      for (const key in value) copy[key] = paint(value[key], style);
      return copy;
    }
    return value;
  }

  function axis(own) {
    if (own && own.title) {
      const title = { text: own.title.text, font: { size: 12, color: "@muted" }, standoff: 8 };
      own = Object.assign({}, own, { title: title });
    }
    const common = {
      gridcolor: "@grid",
      zerolinecolor: "@muted",
      zerolinewidth: 1,
      linecolor: "@rule",
      tickfont: { color: "@muted", size: 12 },
      automargin: true,
      fixedrange: true,
    };
    return Object.assign(common, own || {});
  }

  function layoutOf(spec) {
    const own = spec.layout;
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      height: spec.height,
      margin: { l: 48, r: 12, t: 12, b: 36 },
      hovermode: "closest",
      hoverlabel: { bgcolor: "@panel", bordercolor: "@rule", font: { color: "@ink" } },
    };
    const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: "@ink" };
    return Object.assign(layout, own, {
      font: Object.assign(font, own.font || {}),
      xaxis: axis(own.xaxis),
      yaxis: axis(own.yaxis),
      legend: Object.assign({ font: { size: 12 } }, own.legend || {}),
    });
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const config = { responsive: true, displaylogo: false, displayModeBar: false };
    for (const id in specs) {
      const node = document.getElementById("figure-" + id);
      if (!node) continue;
      Plotly.react(node, paint(specs[id].data, style), paint(layoutOf(specs[id]), style), config);
    }
  }

  draw();
  dark.addEventListener("change", draw);
})();
