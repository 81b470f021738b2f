import { Declarations, DENIALS, DOORS, PASSWORD_RESULTS } from './declarations.ts';

/** Who was let in, and who was not. */
export class AccessMetrics extends Declarations {
  readonly passwords = this.counter(
    'entrepot_access_passwords_total',
    'Passwords that were not known yet: right, wrong, unknown (of no account here, perhaps a secret of the upstream) or limited (not compared, since too many wrong ones came)',
    { result: PASSWORD_RESULTS },
  );
  readonly denials = this.counter(
    'entrepot_access_denials_total',
    'Requests that were refused by who asked: anonymous (no login), credentials (they say nothing here), scope (a token for something else), rule (none gives it), limit (too many logins) or host (another name than that of the listener)',
    { door: DOORS, reason: DENIALS },
  );
  readonly auditLost = this.counter(
    'entrepot_audit_lines_lost_total',
    'Lines of log.audit that could not be written',
  );

  constructor(...parts: ConstructorParameters<typeof Declarations>) {
    super(...parts);
    this.start(this.passwords, { result: PASSWORD_RESULTS });
    this.start(this.denials, { door: DOORS, reason: DENIALS });
  }
}
