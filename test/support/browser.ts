// Pages in a real Chromium, without a network.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import axe from 'axe-core';
import { type Browser, type BrowserContext, type Page, chromium } from 'playwright-core';
import * as tools from '../fixtures-ts/tools.js';

const program = ['chromium', 'chromium-browser', 'google-chrome'].map(tools.which).find(Boolean);

/** The browser's program; empty where there is none. */
export const browserProgram = program ?? '';

/** Why there is no browser; false where there is one. */
export const noBrowser = program === undefined && 'Chromium is not installed';

export interface View {
  scheme?: 'light' | 'dark';
  width?: number;
  /** Without it the page's script does not run. */
  script?: boolean;
}

/** A page, with what it did that a report must not do. */
export interface Shown {
  page: Page;
  /** What the console shows: errors, warnings, refused scripts. */
  messages: string[];
  /** The addresses that it wanted, without its own. */
  requests: string[];
}

/** A browser with a folder for its pages. */
export class Browsing {
  readonly #browser: Browser;
  readonly #folder = mkdtempSync(join(tmpdir(), 'malloc-backend-report-'));
  readonly #contexts: BrowserContext[] = [];

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<Browsing> {
    // test/support/progress.ts ends what is stuck.
    const launch = { executablePath: browserProgram, args: ['--no-sandbox', '--disable-gpu'], timeout: 0 };
    return new Browsing(await chromium.launch(launch));
  }

  async show(html: string, { scheme = 'light', width = 1200, script = true }: View = {}): Promise<Shown> {
    const context = await this.#browser.newContext({
      viewport: { width, height: 900 },
      colorScheme: scheme,
      javaScriptEnabled: script,
      offline: true,
    });
    this.#contexts.push(context);
    context.setDefaultTimeout(0);
    const file = join(this.#folder, `${this.#contexts.length}.html`);
    writeFileSync(file, html);
    const address = pathToFileURL(file).href;
    const page = await context.newPage();
    const shown: Shown = { page, messages: [], requests: [] };
    page.on('console', (message) => shown.messages.push(message.text()));
    page.on('pageerror', (error) => shown.messages.push(String(error)));
    page.on('request', (request) => {
      if (request.url() !== address) shown.requests.push(request.url());
    });
    await page.goto(address, { waitUntil: 'load' });
    return shown;
  }

  async end(): Promise<void> {
    await this.#browser.close();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** The page does not scroll sideways. */
export async function isNoWider({ page }: Shown): Promise<void> {
  const widths = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as number[];
  assert.equal(widths[0], widths[1], 'the page scrolls sideways');
}

/** axe-core finds nothing in the page. */
export async function isAccessible({ page }: Shown): Promise<void> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate('axe.run({ resultTypes: ["violations"] })')) as axe.AxeResults;
  const found = violations.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`,
  );
  assert.deepEqual(found, []);
}
