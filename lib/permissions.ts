import { ArnFormat, Stack, Validations } from 'aws-cdk-lib';
import type { IRole } from 'aws-cdk-lib/aws-iam';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import type { IConstruct } from 'constructs';

/** The ARN of a resource of this account and region whose name follows a colon. */
export function arnOf(scope: IConstruct, service: string, resource: string, resourceName: string): string {
  return Stack.of(scope).formatArn({ service, resource, resourceName, arnFormat: ArnFormat.COLON_RESOURCE_NAME });
}

/** Gives cdk-nag the reason for a wildcard in a policy. */
export function justifyWildcard(owner: IConstruct, resource: string, reason: string): void {
  const id = `AwsSolutions-IAM5[Resource::${flattened(Stack.of(owner).resolve(resource))}]`;
  Validations.of(owner).acknowledge({ id, reason });
}

export function justifyInvocation(role: IRole, { functionArn }: IFunction): void {
  const reason = 'The CDK grants the invocation of every version and alias of this one function.';
  justifyWildcard(role, `${functionArn}:*`, reason);
}

/** In the ids of cdk-nag's findings, references are `<Id.Attribute>`, and other functions are JSON. */
function flattened(value: unknown): string {
  const { Ref: ref, 'Fn::GetAtt': attribute, 'Fn::Join': join } = Object(value) as Partial<Reference>;
  if (join) {
    return join[1].map(flattened).join(join[0]);
  }
  if (ref !== undefined || attribute) {
    return `<${ref ?? attribute?.join('.')}>`;
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}

interface Reference {
  readonly Ref: string;
  readonly 'Fn::GetAtt': readonly string[];
  readonly 'Fn::Join': readonly [separator: string, parts: readonly unknown[]];
}
