import { ECRClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr';
import type { Issued } from '../expiring-value.ts';
import { askCloud } from './ask-cloud.ts';
import type { Credential } from './credential.ts';
import { ECR_CLIENT, readEcrAuthorization, tellEcrError } from './ecr-authorization.ts';

export interface EcrParts {
  readonly region: string;
  /** A profile of the AWS configuration files; without one, the default credential chain. */
  readonly profile?: string | undefined;
}

/** The password of a private registry of Amazon, for twelve hours. */
export async function issueFromEcr({ region, profile }: EcrParts): Promise<Issued<Credential>> {
  const client = new ECRClient({
    ...ECR_CLIENT,
    region,
    ...(profile !== undefined && { profile }),
  });
  try {
    const command = new GetAuthorizationTokenCommand({});
    const { authorizationData } = await askCloud(
      async (abortSignal) => client.send(command, { abortSignal }),
      tellEcrError,
    );
    return readEcrAuthorization(authorizationData?.[0]);
  } finally {
    client.destroy();
  }
}
