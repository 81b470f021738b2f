import { refuseBy } from '../signatures/refused.ts';
import { REASONS } from './texts.ts';

/** What is thrown where a Notation signature does not count. */
export const refuse = refuseBy(REASONS);
