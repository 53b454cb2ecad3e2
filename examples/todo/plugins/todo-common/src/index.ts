/**
 * What the todo plugin's frontend and backend agree on.
 *
 * @packageDocumentation
 */
export * from './types';
export { parseNewTodo } from './parseNewTodo';
