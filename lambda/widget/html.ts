/** Markup whose texts are escaped. Only {@link html} makes it, so that nothing else gets into a page. */
export class Html {
  constructor(readonly markup: string) {}
}

type Part = Html | string | number | undefined | readonly Part[];

/** A template whose values are escaped, unless they are markup themselves. */
export function html(texts: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(texts.map((text, i) => (i === 0 ? text : markupOf(parts[i - 1]) + text)).join(''));
}

function markupOf(part: Part): string {
  if (part instanceof Html) {
    return part.markup;
  }
  if (Array.isArray(part)) {
    return part.map(markupOf).join('');
  }
  return part === undefined ? '' : String(part).replace(/[&<>"'`]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
