/**
 * A page that shows the todo list.
 *
 * @packageDocumentation
 */
export { todoPlugin, TodoPage } from './plugin';
