import { isRecord } from './bounded-json.ts';
import { isCycloneDx, readCycloneDx } from './cyclonedx-vex.ts';
import { isOpenVex, readOpenVex } from './openvex.ts';
import { TEXTS } from './texts.ts';
import { MAX_PARTS, PartsLeft, TooManyParts, type JudgedImage, type VexReading } from './vex.ts';

/**
 * What an OpenVEX or CycloneDX document says of the image; nothing of what it says of others. The document
 * is of somebody whom the policy trusts, and hostile all the same: at most 50,000 statements, products and
 * packages are read of it. Who hands it over has bounded its bytes and depth.
 */
export function readVex(document: unknown, image: JudgedImage): VexReading {
  if (!isRecord(document)) return { kind: 'refused', code: 'malformed', reason: TEXTS.noVex };
  const parts = new PartsLeft();
  try {
    if (isOpenVex(document))
      return { kind: 'statements', statements: readOpenVex(document, image, parts) };
    if (isCycloneDx(document)) {
      return { kind: 'statements', statements: readCycloneDx(document, image, parts) };
    }
    return { kind: 'refused', code: 'malformed', reason: TEXTS.noVex };
  } catch (error) {
    if (!(error instanceof TooManyParts)) throw error;
    const reason = TEXTS.tooMuchVex({ most: MAX_PARTS });
    return { kind: 'refused', code: 'too-large', reason };
  }
}
