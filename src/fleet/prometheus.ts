// Prometheus's HTTP API (prometheus.io/docs/prometheus/latest/querying/api).

import { invalidArgument, MallocBackendError, shown } from '../errors.js';

export type Labels = Readonly<Record<string, string>>;

/** A series with its value at one moment. */
export interface Value {
  labels: Labels;
  value: number;
}

interface Answer {
  status?: string;
  error?: string;
  errorType?: string;
  warnings?: string[];
  data?: unknown;
}

interface Vector {
  result: { metric: Labels; value?: [number, string]; values?: [number, string][] }[];
}

export class Prometheus {
  /** Without a name and a password. */
  readonly url: string;
  /** What the server said besides the values. */
  readonly warnings = new Set<string>();
  readonly #base: string;
  readonly #headers: Headers;
  readonly #signal: AbortSignal | undefined;

  constructor(given: unknown, headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal) {
    const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol))
      throw invalidArgument(
        `the URL of Prometheus must begin with http:// or https://, as in http://prometheus:9090, not ${withoutSecret(given)}`,
      );
    this.#headers = headersOf(headers);
    // fetch refuses a URL with a password.
    const authorization = authorizationOf(url);
    [url.username, url.password, url.search, url.hash] = ['', '', '', ''];
    this.url = url.href.replace(/\/+$/, '');
    this.#base = `${this.url}/api/v1`;
    if (authorization !== undefined) {
      if (this.#headers.has('authorization'))
        throw invalidArgument(
          'the URL of Prometheus has a name or a password, and there is a header Authorization, too; give one of them',
        );
      this.#headers.set('authorization', authorization);
    }
    this.#signal = signal;
  }

  /** The value of each series of an expression at a moment. */
  async values(expression: string, at: Date): Promise<Value[]> {
    const { result } = await this.#query(expression, at);
    return result.map(({ metric, value }) => ({ labels: metric, value: Number(value?.[1]) }));
  }

  /** When the first series of an expression has samples, in seconds since 1970. */
  async times(expression: string, at: Date): Promise<number[]> {
    const { result } = await this.#query(expression, at);
    return (result[0]?.values ?? []).map(([time]) => time);
  }

  /** The values of a label of the series that the selector matches, within a time. */
  async labelValues(label: string, selector: string, from: Date, to: Date): Promise<string[]> {
    const words = new URLSearchParams({
      'match[]': selector,
      start: from.toISOString(),
      end: to.toISOString(),
    });
    return (await this.#ask(`label/${label}/values?${words}`)) as string[];
  }

  async #query(query: string, at: Date): Promise<Vector> {
    const body = new URLSearchParams({ query, time: at.toISOString() });
    return (await this.#ask('query', body, query)) as Vector;
  }

  async #ask(path: string, body?: URLSearchParams, query?: string): Promise<unknown> {
    let status: number;
    let type: string;
    let text: string;
    try {
      const options = body === undefined ? {} : { method: 'POST', body };
      const reply = await fetch(`${this.#base}/${path}`, {
        ...options,
        headers: this.#headers,
        signal: this.#signal ?? null,
      });
      status = reply.status;
      type = reply.headers.get('content-type') ?? '';
      text = await reply.text();
    } catch (cause) {
      if (this.#signal?.aborted)
        throw new MallocBackendError('ERR_ABORTED', 'the comparison of the fleet was interrupted', { cause });
      throw failed(
        `cannot reach Prometheus at ${this.url}: ${reasonOf(cause)}; check the URL and the network`,
        cause,
      );
    }
    if (status === 401 || status === 403)
      throw failed(
        `Prometheus at ${this.url} answers with the status ${status}: it needs credentials, or others; ` +
          "pass them in a header: --header 'Authorization: Bearer …', in TypeScript the option headers",
      );
    const answer = parsed(text);
    if (answer?.status === undefined)
      throw failed(
        `${this.url} does not answer as Prometheus does: the status is ${status}, and the content is ${type || 'of no type'}; ` +
          'give the URL under which /api/v1/query is',
      );
    if (answer.status !== 'success') {
      const about = query === undefined ? path : query;
      throw failed(
        `Prometheus refuses a query: ${answer.error ?? answer.errorType}${hintFor(answer)}. The query: ${about}`,
      );
    }
    for (const warning of answer.warnings ?? []) this.warnings.add(warning);
    return answer.data;
  }
}

/** A wrong URL for a message: whatever is before an @ may be a password. */
function withoutSecret(given: unknown): string {
  const text = given instanceof URL ? given.href : given;
  return shown(typeof text === 'string' ? text.replace(/^([^:/@]*:\/\/)?.*@/s, '$1') : text);
}

/** Node's own error shows the value, which may be a secret. */
function headersOf(given: Readonly<Record<string, string>>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(given)) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name))
      throw invalidArgument(
        `the name of a header has a character that HTTP does not allow, after ${shown(/^[\w-]*/.exec(name)![0])}`,
      );
    try {
      headers.append(name, value);
    } catch {
      throw invalidArgument(
        `the value of the header ${name} has a character that HTTP does not allow, such as the end of a line; correct the value, which is not shown here`,
      );
    }
  }
  return headers;
}

/** The header of the name and the password in a URL, if there are any. */
function authorizationOf({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  try {
    const secret = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
    return `Basic ${secret.toString('base64')}`;
  } catch {
    throw invalidArgument(
      'the name or the password in the URL of Prometheus has a % that begins no character; write %25 for a %',
    );
  }
}

function parsed(text: string): Answer | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function hintFor({ error = '', errorType }: Answer): string {
  if (/too many samples|maximum.*samples|timed out/.test(error))
    return '; ask for less with a shorter --since';
  return errorType === 'bad_data' ? '; check --workload and --requests' : '';
}

/** fetch hides the reason in the cause. */
function reasonOf(error: unknown): string {
  const { cause = error } = error as Error;
  const { code, message } = cause as NodeJS.ErrnoException;
  return message !== '' && code !== undefined && !message.includes(code)
    ? `${code}, ${message}`
    : message || code || String(cause);
}

function failed(message: string, cause?: unknown): MallocBackendError {
  return new MallocBackendError('ERR_PROMETHEUS_FAILED', message, cause === undefined ? {} : { cause });
}
