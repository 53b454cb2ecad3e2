import { InputError } from '@backstage/errors';
import type { NewTodo } from './types';

const MAX_TITLE_LENGTH = 200;
const ISO_DATE = /^\d{4}-\d{2}-\d{2}$/;

/**
 * Checks that `value` describes a todo, and returns it with a trimmed title.
 *
 * Throws an `InputError`, which an HTTP router turns into a 400, when it does not.
 */
export function parseNewTodo(value: unknown): NewTodo {
  if (typeof value !== 'object' || value === null) {
    throw new InputError('a todo must be an object');
  }
  const { title, due } = value as Record<string, unknown>;

  if (typeof title !== 'string' || title.trim() === '') {
    throw new InputError('a todo needs a title');
  }
  if (title.trim().length > MAX_TITLE_LENGTH) {
    throw new InputError(`a title has at most ${MAX_TITLE_LENGTH} characters`);
  }
  if (due === undefined || due === '') {
    return { title: title.trim() };
  }
  if (
    typeof due !== 'string' ||
    !ISO_DATE.test(due) ||
    Number.isNaN(Date.parse(due))
  ) {
    throw new InputError('`due` must be a date such as 2026-01-31');
  }
  return { title: title.trim(), due };
}
