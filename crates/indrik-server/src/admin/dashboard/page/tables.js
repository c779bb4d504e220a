// Tables that can be sorted and filtered; what is chosen stands in the address.

import { h } from './preact.js';
import htm from './htm.js';

const html = htm.bind(h);

// `columns`: [key, title, value(row), shown(row)?, 'number'?].
export const Table = ({ name, caption, columns, rows, empty, view, go, filter = true, rowKey }) => {
  const [sortKey, direction] = (view[`${name}-sort`] || '').split('.');
  const wanted = (view[`${name}-filter`] || '').toLowerCase();
  const said = (row, value, shown) => {
    const text = (shown || value)(row) ?? '';
    return typeof text === 'object' ? value(row) : text;
  };
  const text = (row) => columns.map(([, , value, shown]) => said(row, value, shown)).join(' ').toLowerCase();
  let shownRows = wanted ? rows.filter((row) => text(row).includes(wanted)) : rows;
  const column = columns.find(([key]) => key === sortKey);
  if (column) {
    const sign = direction === 'up' ? 1 : -1;
    const order = (a, b) => (a == null) - (b == null) || (a < b ? -1 : a > b ? 1 : 0);
    shownRows = [...shownRows].sort((a, b) => sign * order(column[2](a), column[2](b)));
  }
  const sort = (key) => go({ [`${name}-sort`]: sortKey === key && direction !== 'up' ? `${key}.up` : `${key}.down` });
  return html`<div class="table">
    ${filter && html`<label class="filter">Filter <input type="search" value=${view[`${name}-filter`] || ''} onInput=${(event) => go({ [`${name}-filter`]: event.target.value })} /></label>`}
    <div class="scroll" tabindex="0" role="region" aria-label=${caption}><table>
      <caption class="hidden">${caption}</caption>
      <thead><tr>${columns.map(([key, title, , , kind]) => html`<th scope="col" key=${key} class=${kind} aria-sort=${sortKey === key ? (direction === 'up' ? 'ascending' : 'descending') : 'none'}>
        <button type="button" onClick=${() => sort(key)}>${title}<span aria-hidden="true">${sortKey === key ? (direction === 'up' ? ' ▴' : ' ▾') : ''}</span></button></th>`)}</tr></thead>
      <tbody>${shownRows.map((row, at) => html`<tr key=${rowKey ? rowKey(row) : at}>${columns.map(([key, , value, shown, kind]) => html`<td key=${key} class=${kind}>${(shown || value)(row)}</td>`)}</tr>`)}</tbody>
    </table></div>
    ${shownRows.length === 0 && html`<p class="empty">${wanted && rows.length ? 'Nothing fits the filter.' : empty}</p>`}
  </div>`;
};
