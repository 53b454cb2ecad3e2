/**
 * The extension point by which modules extend the todo backend.
 *
 * @packageDocumentation
 */
import { createExtensionPoint } from '@backstage/backend-plugin-api';
import type { NewTodo } from '@acme/plugin-todo-common';

/** Where modules put the todos that the list starts with. */
export interface TodoSeedExtensionPoint {
  addSeeds(...todos: NewTodo[]): void;
}

/**
 * The backend and each module carry their own copy of this package when they
 * are exported as dynamic plugins. That is fine: Backstage finds an extension
 * point by its id, not by the identity of this object.
 */
export const todoSeedExtensionPoint =
  createExtensionPoint<TodoSeedExtensionPoint>({ id: 'todo.seed' });
