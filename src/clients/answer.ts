import { once } from 'node:events';
import { get as getHttp, type IncomingMessage } from 'node:http';
import { get as getHttps } from 'node:https';
import { getCACertificates } from 'node:tls';
import type { MirrorPlace } from './mirror-place.ts';
import { TEXTS } from './texts.ts';

const MOST_SECONDS = 10;

export interface MirrorAnswer {
  readonly isSound: boolean;
  readonly told: string;
}

/** Whether a registry answers at the mirror's address within 10 s: 200, or 401 where it wants a login. */
export async function askMirror({ url, isHttp, ca, fallback }: MirrorPlace): Promise<MirrorAnswer> {
  const signal = AbortSignal.timeout(MOST_SECONDS * 1000);
  const trusted = [...getCACertificates('default'), ...getCACertificates('system')];
  try {
    const request = isHttp
      ? getHttp(`${url}/v2/`, { signal, agent: false })
      : getHttps(`${url}/v2/`, { signal, agent: false, ca: ca === undefined ? trusted : [ca] });
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    answer.destroy();
    const { statusCode: status = 0 } = answer;
    if (status === 200) return { isSound: true, told: TEXTS.answers({ url }) };
    if (status !== 401) return { isSound: false, told: TEXTS.noRegistry({ url, status }) };
    // What is in force would have the upstream give what is refused here.
    return { isSound: true, told: fallback ? TEXTS.asksWho({ url }) : TEXTS.wantsLogin({ url }) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const late = TEXTS.tooLate({ seconds: MOST_SECONDS });
    const reason = signal.aborted ? late : (code ?? message);
    return { isSound: false, told: TEXTS.noAnswer({ url, reason }) };
  }
}
