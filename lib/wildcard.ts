import { Stack } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/**
 * The id of cdk-nag's finding about a resource with a wildcard. It has references as `<Id.Attribute>`, and functions as JSON.
 */
export function wildcard(scope: IConstruct, resource: string): string {
  return `AwsSolutions-IAM5[Resource::${flattened(Stack.of(scope).resolve(resource))}]`;
}

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
