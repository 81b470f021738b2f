/** What clients read of access control. */
export const TEXTS = {
  tooManyTokens: ({ most }: { most: number }) =>
    `there are ${most} tokens already: revoke those that nobody uses`,
  tooManyLogins: 'too many logins wait for their turn: try again',
  tooManyFailures: ({ user }: { user: string }) =>
    `too many wrong passwords of ${JSON.stringify(user.slice(0, 64))} from this address: try again in a minute`,
} as const;
