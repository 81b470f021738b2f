/** What clients read of access control. */
export const TEXTS = {
  tooManyTokens: ({ most }: { most: number }) =>
    `there are ${most} tokens already: revoke those that nobody uses`,
  tooManyLogins: 'too many logins wait for their turn: try again',
  tooManyFailures: 'too many wrong passwords from this address: try again in a minute',
} as const;
