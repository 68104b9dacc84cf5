import { deepStrictEqual as equal, match, ok } from 'node:assert';
import type { TestContext } from 'node:test';
import { CloudWatchLogsClient, CreateLogStreamCommand, PutLogEventsCommand } from '@aws-sdk/client-cloudwatch-logs';
import { InvokeCommand, LambdaClient } from '@aws-sdk/client-lambda';
import type { Browser, Page } from 'playwright-core';
import { openBrowser } from './browser';
import type { Continuation } from './continuation';
import type { World } from './world';

/**
 * The part of a dashboard that shows a custom widget: the markup as it is, except that each button calls the function of the
 * action behind it, with the parameters in it, once somebody has confirmed that.
 */
const DASHBOARD = `
  <div id="widget"></div>
  <div id="popup"></div>
  <script>
    async function show(parameters) {
      widget.innerHTML = await invoke('', JSON.stringify(parameters));
      for (const action of widget.querySelectorAll('cwdb-action')) {
        const text = action.textContent;
        action.textContent = '';
        action.previousElementSibling.onclick = async () => {
          popup.innerHTML = '';
          if (confirm(action.getAttribute('confirmation'))) {
            popup.innerHTML = await invoke(action.getAttribute('endpoint'), text);
          }
        };
      }
    }
  </script>`;

const ATTACK = '<img src="x" onerror="window.attacked = true">';

/** The widget of the dashboard, in a browser, with the function behind it. */
export class Widget {
  readonly #world: World;
  readonly #functionName: string;
  /** Of the function of auth. */
  readonly #logGroupName: string;
  readonly #continuation: Continuation;

  constructor(world: World, functionName: string, logGroupName: string, continuation: Continuation) {
    this.#world = world;
    this.#functionName = functionName;
    this.#logGroupName = logGroupName;
    this.#continuation = continuation;
  }

  async run(t: TestContext): Promise<void> {
    const browser = await openBrowser();
    try {
      await this.#run(t, browser);
    } finally {
      await browser.close();
    }
  }

  async #run(t: TestContext, browser: Browser): Promise<void> {
    const page = await browser.newPage();
    await page.exposeFunction('invoke', (endpoint: string, parameters: string) => this.#invoke(endpoint, parameters));
    await page.setContent(DASHBOARD);
    const answers: boolean[] = [];
    page.on('dialog', (dialog) => void (answers.shift() ? dialog.accept() : dialog.dismiss()));
    const press = async (button: string, confirmed = true) => {
      answers.push(confirmed);
      // Those of auth come first.
      await page.locator('#widget a.btn', { hasText: button }).first().click();
      if (confirmed) {
        await page.waitForSelector('#popup p');
      }
      return (await page.textContent('#popup')) ?? '';
    };

    await t.test('shows the last runs of all databases, and text from the log as text', async () => {
      await this.#logAttack();
      await this.#show(page);
      equal(await page.locator('h3').allTextContents(), ['auth', 'partners']);
      equal(await page.locator('a.btn').allTextContents(), [
        'Dry run',
        'Run now',
        'Stop',
        'Dry run',
        'Run now',
        'Stop',
      ]);
      const rows = await page.locator('tbody tr').allTextContents();
      ok(rows.some((row) => row.includes(ATTACK)));
      ok(rows.some((row) => row.includes('succeeded')));
      equal(await page.evaluate('[document.images.length, window.attacked]'), [0, undefined]);
    });

    await t.test('starts nothing before it is confirmed, and then a dry run', async () => {
      const before = await this.#continuation.executions();
      equal(await press('Dry run', false), '');
      equal(await this.#continuation.executions(), before);
      match(await press('Dry run'), /^The dry run of auth has started/);
      const { input, output } = await this.#continuation.endOfLast();
      equal([input, output.dryRun, output.status], ['{"dryRun":true}', true, 'succeeded']);
    });

    await t.test('stops what is running, and runs now', async () => {
      const slow = await this.#continuation.startSlowly();
      await this.#show(page);
      match((await page.textContent('#widget')) ?? '', /Running since/);
      match(await press('Stop'), /^1 execution of auth has been stopped/);
      equal((await this.#continuation.end(slow)).status, 'ABORTED');
      match(await press('Run now'), /^The run of auth has started/);
      equal((await this.#continuation.endOfLast()).input, '{}');
    });
  }

  async #show(page: Page): Promise<void> {
    await page.evaluate('show({})');
  }

  /** As CloudWatch, by the name of the widget or the address in a button. */
  async #invoke(endpoint: string, parameters: string): Promise<string> {
    const client = this.#world.emulator.client(LambdaClient);
    const { Payload, FunctionError } = await client.send(
      new InvokeCommand({ FunctionName: endpoint || this.#functionName, Payload: parameters }),
    );
    const answer = Buffer.from(Payload ?? '').toString();
    equal(FunctionError, undefined, answer);
    return JSON.parse(answer);
  }

  /** A run whose error is markup. */
  async #logAttack(): Promise<void> {
    const client = this.#world.emulator.client(CloudWatchLogsClient);
    const where = { logGroupName: this.#logGroupName, logStreamName: 'attack' };
    await client.send(new CreateLogStreamCommand(where));
    const message = JSON.stringify({ run: { status: 'failed', error: ATTACK } });
    await client.send(new PutLogEventsCommand({ ...where, logEvents: [{ timestamp: Date.now(), message }] }));
  }
}
