// Runs once for the source panel; gradio provides `element`, `trigger` and `watch`.
const side = element.closest('#source-side') ?? element;
let last = null;

const shut = () => {
  if (!side.classList.contains('opened')) return false;
  side.classList.remove('opened');
  trigger('shut');
  last?.focus({preventScroll: true});
  return true;
};

// On a phone the documents and settings lie in a sheet over the chat.
const tray = (open) => {
  const button = document.querySelector('#tray-button');
  const sheet = document.querySelector('#tray');
  if (!sheet || (!open && !sheet.classList.contains('opened'))) return false;
  sheet.classList.toggle('opened', open);
  button?.setAttribute('aria-expanded', String(open));
  (open ? sheet.querySelector('.closer') : button)?.focus();
  return true;
};

const copyAnswer = (button) => {
  const said = button.closest('.answer')?.querySelector('.said');
  if (said) navigator.clipboard?.writeText(said.innerText).catch(() => {});
};

document.addEventListener('click', (event) => {
  const button = event.target.closest?.('button');
  if (!button) return;
  if (button.matches('button.cite')) {
    last = button;
    trigger('open', {value: button.value});
  } else if (button.matches('button.act')) {
    const act = button.value.split(':')[1];
    if (act === 'copy') copyAnswer(button);
    trigger(act === 'regenerate' || act === 'fresh' ? 'again' : 'act', {value: button.value});
  } else if (button.matches('#source .close')) {
    shut();
  } else if (button.matches('#tray-button')) {
    tray(true);
  } else if (button.matches('#tray .closer')) {
    tray(false);
  }
});

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') shut() || tray(false);
});

watch('value', () => {
  const body = element.querySelector('.body');
  const mark = element.querySelector('mark');
  side.classList.toggle('opened', Boolean(mark));
  document.querySelectorAll('button.cite').forEach((button) =>
    button.classList.toggle('current', Boolean(mark) && button.value === last?.value));
  if (!mark) return;
  body.scrollTop = mark.offsetTop - body.offsetTop - body.clientHeight / 3;
  body.focus({preventScroll: true});
});

// What gradio leaves unnamed, or names by HTML source, gets a name that can be read out.
const NAMES = {
  '#question .submit-button': 'send',
  '#question .stop-button': 'stop',
  '#chat .bubble-wrap': 'chat',
};
const names = JSON.parse(document.querySelector('[data-names]')?.dataset.names ?? '{}');
const say = (element, name, value) => {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};
const mend = () => {
  document.querySelectorAll('button.cite.mark, button.act.icon').forEach((button) =>
    say(button, 'aria-label', button.title));
  document.querySelectorAll('button.act[value$=":up"], button.act[value$=":down"]').forEach((button) =>
    say(button, 'aria-pressed', String(button.classList.contains('pressed'))));
  document.querySelectorAll('#chat .problem').forEach((problem) => say(problem, 'role', 'alert'));
  document.querySelectorAll('#chat .examples[role=list]').forEach((list) => list.setAttribute('role', 'group'));
  document.querySelectorAll('#files button[aria-label]').forEach((button) => button.removeAttribute('aria-label'));
  document.querySelectorAll('#chat [data-testid][aria-label]').forEach((message) =>
    message.removeAttribute('aria-label'));
  for (const [selector, name] of Object.entries(NAMES)) {
    const found = document.querySelector(selector);
    if (found && names[name] && found.getAttribute('aria-label') !== names[name]) {
      found.setAttribute('aria-label', names[name]);
    }
  }
};
new MutationObserver(mend).observe(document.body,
  {childList: true, subtree: true, attributes: true, attributeFilter: ['aria-label']});
mend();
