// Runs once for the source panel; gradio provides `element`, `trigger` and `watch`.
const side = element.closest('#source-side') ?? element;
let last = null;

const close = () => {
  if (!side.classList.contains('opened')) return;
  side.classList.remove('opened');
  trigger('shut');
  last?.focus({preventScroll: true});
};

const markCurrent = (value) =>
  document.querySelectorAll('button.cite').forEach((button) =>
    button.classList.toggle('current', button.value === value));

document.addEventListener('click', (event) => {
  const button = event.target.closest?.('button.cite');
  if (button) {
    last = button;
    trigger('open', {value: button.value});
  } else if (event.target.closest?.('#source .close')) {
    close();
  }
});

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') close();
});

watch('value', () => {
  const body = element.querySelector('.body');
  const mark = element.querySelector('mark');
  side.classList.toggle('opened', Boolean(mark));
  markCurrent(mark ? last?.value : null);
  if (!mark) return;
  body.scrollTop = mark.offsetTop - body.offsetTop - body.clientHeight / 3;
  body.focus({preventScroll: true});
});

// The chat puts a message's HTML source into its accessible name; its content says the same, readably.
new MutationObserver(() => {
  document.querySelectorAll('#chat [data-testid][aria-label]').forEach((message) =>
    message.removeAttribute('aria-label'));
}).observe(document.body, {childList: true, subtree: true, attributes: true, attributeFilter: ['aria-label']});
