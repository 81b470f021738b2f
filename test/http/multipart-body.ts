export interface BodyPart {
  readonly contentRange: string;
  readonly contentType: string;
  readonly bytes: Buffer;
}

/**
 * Reads a multipart/byteranges body by the lengths its parts state, so that content may contain
 * anything. Throws where the frame is not that of RFC 9110 section 14.6.
 */
export function parseMultipart(contentType: string, body: Buffer): BodyPart[] {
  const boundary = /^multipart\/byteranges; boundary=([0-9A-Za-z'()+_,./:=? -]{1,70})$/.exec(
    contentType,
  )?.[1];
  if (boundary === undefined) throw new Error(`no multipart: ${contentType}`);
  const parts: BodyPart[] = [];
  let position = 0;
  const expect = (text: string): boolean => {
    const isThere = body.subarray(position, position + text.length).toString('latin1') === text;
    if (isThere) position += text.length;
    return isThere;
  };
  const need = (text: string): void => {
    if (!expect(text)) throw new Error(`no ${JSON.stringify(text)} at ${position}`);
  };
  expect('\r\n');
  for (;;) {
    need(`--${boundary}`);
    if (expect('--')) break;
    need('\r\n');
    const headEnd = body.indexOf('\r\n\r\n', position);
    const head = body.subarray(position, headEnd).toString('latin1');
    const contentRange = /^Content-Range: (.*)$/im.exec(head)?.[1]?.trim() ?? '';
    const partType = /^Content-Type: (.*)$/im.exec(head)?.[1]?.trim() ?? '';
    const [, first = 'x', last = 'x'] = /^bytes (\d+)-(\d+)\/\d+$/.exec(contentRange) ?? [];
    const start = headEnd + 4;
    position = start + Number(last) - Number(first) + 1;
    parts.push({ contentRange, contentType: partType, bytes: body.subarray(start, position) });
    need('\r\n');
  }
  expect('\r\n');
  if (position !== body.length) throw new Error(`${body.length - position} bytes after the end`);
  return parts;
}
