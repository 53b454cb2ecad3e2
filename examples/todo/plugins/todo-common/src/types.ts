/** What it takes to make a todo. */
export interface NewTodo {
  title: string;
  /** The day it is due, as an ISO date such as `2026-01-31`. */
  due?: string;
}

/** One entry of the list, as the backend gives it out. */
export interface Todo extends NewTodo {
  id: number;
  done: boolean;
  /** When it was added, as an ISO timestamp in UTC. */
  createdAt: string;
  /** True when the due day is over and the todo is not done. */
  overdue: boolean;
}

/** The answer to `GET /todos`. */
export interface TodoList {
  items: Todo[];
}
