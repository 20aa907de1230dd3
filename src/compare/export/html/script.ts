/**
 * What the page can do beyond being read: copy, show a subject in all charts, and read values off the curves at a time. The
 * values come from the table behind the chart.
 */
export const SCRIPT = `(() => {
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
for (const button of all('button[data-copies]')) {
  button.hidden = false;
  button.addEventListener('click', async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = 'Selected';
    }
  });
}
let shown;
document.addEventListener('pointerover', ({ target }) => {
  const subject = target.closest?.('[data-s]')?.dataset.s;
  if (subject === shown) return;
  shown = subject;
  for (const part of all('svg [data-s]')) part.classList.toggle('dim', subject !== undefined && part.dataset.s !== subject);
});
for (const chart of all('.timed')) {
  const rows = all('tr[data-at]', chart.parentElement);
  const label = chart.querySelector('.cursor');
  const input = label.querySelector('input');
  const output = label.querySelector('output');
  const values = all('[data-v]', chart);
  const move = (at) => {
    input.value = at;
    const row = rows[at];
    const time = row.cells[0].textContent + ' ' + chart.dataset.time;
    for (const cross of all('.cross', chart)) {
      cross.setAttribute('visibility', 'visible');
      for (const side of ['x1', 'x2']) cross.setAttribute(side, row.dataset.at + '%');
    }
    const said = [];
    for (const value of values) {
      const cell = row.querySelector('[data-c="' + value.dataset.v + '"]');
      value.textContent = cell ? cell.textContent + ' ' + chart.dataset.memory : 'ended';
      said.push(value.closest('li').querySelector('.name').textContent.trim() + ' ' + value.textContent);
    }
    output.textContent = time;
    input.setAttribute('aria-valuetext', said.length > 8 ? time : time + ': ' + said.join(', '));
  };
  label.hidden = false;
  input.max = rows.length - 1;
  input.setAttribute('aria-valuetext', 'not set');
  input.addEventListener('input', () => move(Number(input.value)));
  for (const plot of all('svg.plot', chart)) {
    plot.addEventListener('pointermove', ({ clientX }) => {
      const box = plot.getBoundingClientRect();
      const place = ((clientX - box.left) / box.width) * 100;
      const distance = (row) => Math.abs(row.dataset.at - place);
      move(rows.reduce((best, row, at) => (distance(row) < distance(rows[best]) ? at : best), 0));
    });
  }
}
})();`;
