import { ECRPUBLICClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr-public';
import type { Issued } from '../expiring-value.ts';
import { askCloud } from './ask-cloud.ts';
import type { Credential } from './credential.ts';
import { ECR_CLIENT, readEcrAuthorization, tellEcrError } from './ecr-authorization.ts';

export interface EcrPublicParts {
  /** A profile of the AWS configuration files; without one, the default credential chain. */
  readonly profile?: string | undefined;
}

/** The only region that issues them. */
const REGION = 'us-east-1';

/** The password of Amazon's public registry, for twelve hours. */
export async function issueFromEcrPublic({ profile }: EcrPublicParts): Promise<Issued<Credential>> {
  const client = new ECRPUBLICClient({
    ...ECR_CLIENT,
    region: REGION,
    ...(profile !== undefined && { profile }),
  });
  try {
    const command = new GetAuthorizationTokenCommand({});
    const { authorizationData } = await askCloud(
      async (abortSignal) => client.send(command, { abortSignal }),
      tellEcrError,
    );
    return readEcrAuthorization(authorizationData);
  } finally {
    client.destroy();
  }
}
