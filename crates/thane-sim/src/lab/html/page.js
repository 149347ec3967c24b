"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const escape = (text) => String(text).replace(/[&<>"]/g, (it) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[it]);
  const colour = (number) => `var(--c${number % 4})`;
  const LANE_COLOURS = { up: "var(--up)", down: "var(--down)", suspected: "var(--doubt)", failed: "var(--bad)" };
  const LANE_WORDS = { up: "up", down: "down", suspected: "suspected", failed: "declared failed" };
  const digits = (value) => (value >= 100 || value === Math.round(value) ? value.toFixed(0) : value >= 10 ? String(Number(value.toFixed(1))) : String(Number(value.toFixed(2))));

  // A value with its unit. On an axis all values share the unit of the greatest.
  const show = (unit, value, top = value) => {
    if (unit === "share") return `${digits(value * 100)} %`;
    if (unit === "s") {
      if (top >= 7200) return `${digits(value / 3600)} h`;
      if (top >= 300) return `${digits(value / 60)} min`;
      return top < 1 ? `${digits(value * 1000)} ms` : `${digits(value)} s`;
    }
    if (unit === "bytes") {
      if (top >= 1e6) return `${digits(value / 1e6)} MB`;
      return top >= 1e3 ? `${digits(value / 1e3)} kB` : `${digits(value)} B`;
    }
    return digits(value);
  };

  // Round numbers from 0 up to at least this one, or at most if it is the end.
  const ticks = (end, wanted, unit, isEnd) => {
    const scale = unit === "s" && end >= 7200 ? 3600 : unit === "s" && end >= 300 ? 60 : 1;
    const rough = Math.max(end / scale, 1e-9) / wanted;
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = ([1, 2, 2.5, 5, 10].find((it) => it * power >= rough * 0.999) || 10) * power;
    if (unit === "count") step = Math.max(1, Math.ceil(step));
    step *= scale;
    const found = [];
    for (let index = 0; index < 50; index += 1) {
      const at = index * step;
      if (isEnd && at > end * 1.0001) break;
      found.push(at);
      if (!isEnd && at >= end * 0.9999) break;
    }
    return found;
  };

  const legend = (items) =>
    `<ul class="legend">${items.map(([name, fill]) => `<li><i style="background:${fill}"></i>${escape(name)}</li>`).join("")}</ul>`;

  const tipFor = (place) => {
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    place.append(tip);
    return (html, x, y, width) => {
      tip.hidden = !html;
      if (!html) return;
      tip.innerHTML = html;
      const left = x + 14 + tip.offsetWidth > width ? x - 14 - tip.offsetWidth : x + 14;
      tip.style.left = `${Math.max(0, left)}px`;
      tip.style.top = `${y}px`;
    };
  };

  // The last point at or before x; for bars the one whose stretch x is in.
  const pointAt = (series, x) => {
    const points = series.points;
    if (series.kind === "bars") return points.find((point) => point[0] >= x);
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] <= x) low = middle + 1;
      else high = middle;
    }
    return low > 0 ? points[low - 1] : undefined;
  };

  const drawChart = (place, chart) => {
    const all = chart.series.flatMap((series) => series.points.concat(series.band.map((pair) => [pair[1], 0])));
    const width = Math.max(260, place.clientWidth);
    const height = width < 520 ? 230 : 280;
    const xEnd = chart.x.max || Math.max(...all.map((point) => point[0]), 1e-3) * 1.04;
    const yTicks = ticks(chart.y.max || Math.max(...all.map((point) => point[1]), chart.y.unit === "count" ? 1 : 1e-9), 4, chart.y.unit, false);
    const yEnd = yTicks[yTicks.length - 1];
    const labels = yTicks.map((value) => show(chart.y.unit, value, yEnd));
    const left = Math.max(...labels.map((label) => label.length)) * 7 + 10;
    const [right, top, bottom] = [16, 24, 40];
    const [w, h] = [width - left - right, height - top - bottom];
    const sx = (x) => left + (Math.min(x, xEnd) / xEnd) * w;
    const sy = (y) => top + h - (y / yEnd) * h;
    let svg = "";
    for (const mark of chart.marks) {
      const [from, until] = [sx(mark.from), sx(mark.until)];
      svg += until - from > 1.5
        ? `<rect class="mark" x="${from}" y="${top}" width="${until - from}" height="${h}"/>`
        : `<line class="moment" x1="${from}" x2="${from}" y1="${top}" y2="${top + h}"/>`;
    }
    yTicks.forEach((value, index) => {
      svg += `<line class="grid" x1="${left}" x2="${left + w}" y1="${sy(value)}" y2="${sy(value)}"/>`;
      svg += `<text x="${left - 6}" y="${sy(value) + 4}" text-anchor="end">${labels[index]}</text>`;
    });
    for (const value of ticks(xEnd, Math.max(3, Math.floor(w / 90)), chart.x.unit, true)) {
      svg += `<line class="axis" x1="${sx(value)}" x2="${sx(value)}" y1="${top + h}" y2="${top + h + 4}"/>`;
      svg += `<text x="${sx(value)}" y="${top + h + 17}" text-anchor="middle">${show(chart.x.unit, value, xEnd)}</text>`;
    }
    svg += `<line class="axis" x1="${left}" x2="${left + w}" y1="${top + h}" y2="${top + h}"/>`;
    svg += `<text x="${left + w}" y="${height - 5}" text-anchor="end">${escape(chart.x.label)} →</text>`;
    svg += `<text x="0" y="12">↑ ${escape(chart.y.label)}</text>`;
    const bars = chart.series.filter((series) => series.kind === "bars");
    for (const series of chart.series) {
      const stroke = colour(series.colour);
      if (series.kind === "bars") {
        const place = bars.indexOf(series);
        let before = 0;
        for (const [x, y] of series.points) {
          const slot = (sx(x) - sx(before)) / bars.length;
          const wide = Math.max(1, slot - 1);
          if (y > 0) svg += `<rect fill="${stroke}" x="${sx(before) + place * slot}" y="${sy(y)}" width="${wide}" height="${sy(0) - sy(y)}"/>`;
          before = x;
        }
        continue;
      }
      if (series.points.length === 0) continue;
      if (series.band.length > 0) {
        const low = series.band.map((pair, index) => `${sx(pair[0])},${sy(series.points[index][1])}`);
        const high = series.band.map((pair, index) => `${sx(pair[1])},${sy(series.points[index][1])}`).reverse();
        svg += `<polygon fill="${stroke}" opacity=".18" points="${low.concat(high).join(" ")}"/>`;
      }
      let path = "";
      let [x0, y0] = [0, series.kind === "step" ? 0 : series.points[0][1]];
      path += `M${sx(x0)},${sy(y0)}`;
      for (const [x, y] of series.points) {
        path += series.kind === "step" ? `H${sx(x)}V${sy(y)}` : `L${sx(x)},${sy(y)}`;
      }
      if (series.kind === "step") path += `H${sx(xEnd)}`;
      // B has the odd colours. Where both are the same, A shows through the gaps.
      const dashes = series.colour % 2 ? ' stroke-dasharray="7 4"' : "";
      svg += `<path fill="none" stroke="${stroke}" stroke-width="2" stroke-linejoin="round"${dashes} d="${path}"/>`;
    }
    svg += `<line class="at" y1="${top}" y2="${top + h}" visibility="hidden"/>`;
    const faults = chart.marks.length > 0 && chart.marks.length <= 12
      ? `<p class="faults">Marked: ${chart.marks.map((mark) => `${escape(mark.what)} at ${show("s", mark.from, 2)}`).join("; ")}</p>`
      : chart.marks.length > 0 ? `<p class="faults">Marked: ${chart.marks.length} faults, the first ${escape(chart.marks[0].what)}</p>` : "";
    place.innerHTML = legend(chart.series.map((series) => [series.name, colour(series.colour)]))
      + `<svg viewBox="0 0 ${width} ${height}" height="${height}" role="img">${svg}</svg>${faults}`;
    const picture = place.querySelector("svg");
    const at = picture.querySelector(".at");
    const tell = tipFor(place);
    const point = (event) => {
      const box = picture.getBoundingClientRect();
      const x = ((event.clientX - box.left - left) / w) * xEnd;
      if (x < 0 || x > xEnd) return leave();
      at.setAttribute("x1", sx(x));
      at.setAttribute("x2", sx(x));
      at.setAttribute("visibility", "visible");
      const values = chart.series.map((series) => {
        const found = pointAt(series, x);
        const value = found ? found[1] : 0;
        return `<i style="background:${colour(series.colour)}"></i>${escape(series.name)}: <b>${show(chart.y.unit, value)}</b>`;
      });
      const near = chart.marks.filter((mark) => mark.from - xEnd * 0.01 <= x && x <= mark.until + xEnd * 0.01);
      const what = near.slice(0, 3).map((mark) => escape(mark.what));
      tell([`<b>${show(chart.x.unit, x)}</b>`, ...values, ...what].join("<br>"), sx(x), top + picture.offsetTop, width);
    };
    const leave = () => {
      at.setAttribute("visibility", "hidden");
      tell("");
    };
    picture.addEventListener("pointermove", point);
    picture.addEventListener("pointerdown", point);
    picture.addEventListener("pointerleave", leave);
  };

  const drawLanes = (place, it) => {
    const width = Math.max(260, place.clientWidth);
    const row = 18;
    const left = Math.max(...it.lanes.map((lane) => lane.name.length)) * 7 + 12;
    const [right, top, bottom] = [16, 4, 40];
    const height = top + it.lanes.length * row + bottom;
    const w = width - left - right;
    const span = Math.max(it.until - it.from, 1e-3);
    const sx = (x) => left + ((x - it.from) / span) * w;
    let svg = "";
    const notes = [];
    const step = ticks(span, Math.max(3, Math.floor(w / 90)), "s", true)[1] || span;
    const floor = top + it.lanes.length * row;
    for (let at = Math.ceil(it.from / step) * step; at <= it.until; at += step) {
      svg += `<line class="grid" x1="${sx(at)}" x2="${sx(at)}" y1="${top}" y2="${floor}"/>`;
      svg += `<text x="${sx(at)}" y="${floor + 16}" text-anchor="middle">${show("s", at, Math.max(1, it.until))}</text>`;
    }
    svg += `<line class="axis" x1="${left}" x2="${left + w}" y1="${floor}" y2="${floor}"/>`;
    svg += `<text x="${left + w}" y="${height - 5}" text-anchor="end">time →</text>`;
    it.lanes.forEach((lane, index) => {
      const y = top + index * row;
      svg += `<text x="${left - 8}" y="${y + 13}" text-anchor="end">${escape(lane.name)}</text>`;
      for (const bar of lane.bars) {
        notes.push([`${LANE_WORDS[bar.what]} from ${show("s", bar.from)} to ${show("s", bar.until)}`, lane.name, bar.why]);
        svg += `<rect data-note="${notes.length - 1}" fill="${LANE_COLOURS[bar.what]}" rx="2" x="${sx(bar.from)}" y="${y + 3}" width="${Math.max(2, sx(bar.until) - sx(bar.from))}" height="${row - 6}"/>`;
      }
      for (const dot of lane.dots) {
        const fill = dot.what === "refuted" ? "var(--good)" : "var(--ink)";
        notes.push([`${dot.what} at ${show("s", dot.at)}`, lane.name, dot.why]);
        svg += `<circle data-note="${notes.length - 1}" fill="${fill}" cx="${sx(dot.at)}" cy="${y + row / 2}" r="${dot.what === "refuted" ? 4 : 3}"/>`;
      }
    });
    const words = Object.keys(LANE_WORDS).map((what) => [LANE_WORDS[what], LANE_COLOURS[what]]);
    words.push(["a further accuser", "var(--ink)"], ["it answered", "var(--good)"]);
    const more = it.more > 0 ? `<p class="faults">${it.more} more members took part.</p>` : "";
    place.innerHTML = legend(words) + `<svg viewBox="0 0 ${width} ${height}" height="${height}" role="img">${svg}</svg>${more}`;
    const picture = place.querySelector("svg");
    const tell = tipFor(place);
    const point = (event) => {
      const note = event.target.dataset && notes[event.target.dataset.note];
      if (!note) return tell("");
      const box = picture.getBoundingClientRect();
      const html = `<b>${escape(note[1])}</b><br>${escape(note[0])}<br>${escape(note[2])}`;
      tell(html, event.clientX - box.left, event.clientY - box.top + picture.offsetTop + 14, width);
    };
    picture.addEventListener("pointermove", point);
    picture.addEventListener("pointerdown", point);
    picture.addEventListener("pointerleave", () => tell(""));
  };

  const draw = () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      drawChart(place, data.charts.find((chart) => chart.id === place.dataset.chart));
    }
    for (const place of document.querySelectorAll("[data-lanes]")) drawLanes(place, data.lanes[place.dataset.lanes]);
  };
  let drawn = 0;
  const redraw = () => {
    if (window.innerWidth !== drawn) {
      drawn = window.innerWidth;
      draw();
    }
  };
  redraw();
  window.addEventListener("resize", redraw);
})();
