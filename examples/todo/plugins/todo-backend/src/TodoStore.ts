import type { Config } from '@backstage/config';
import { ConflictError, NotFoundError } from '@backstage/errors';
import type { NewTodo, Todo } from '@acme/plugin-todo-common';
import { DateTime } from 'luxon';

const DEFAULT_MAX_ITEMS = 1000;

type StoredTodo = Omit<Todo, 'overdue'>;

/** The list, in memory: it is gone when the backend stops. */
export class TodoStore {
  static fromConfig(config: Config): TodoStore {
    return new TodoStore(
      config.getOptionalNumber('todo.maxItems') ?? DEFAULT_MAX_ITEMS,
    );
  }

  private readonly todos = new Map<number, StoredTodo>();
  private lastId = 0;

  constructor(private readonly maxItems: number) {}

  list(): Todo[] {
    return [...this.todos.values()].map(withOverdue);
  }

  add(newTodo: NewTodo): Todo {
    if (this.todos.size >= this.maxItems) {
      throw new ConflictError(`the list is full (${this.maxItems} entries)`);
    }
    this.lastId += 1;
    const todo: StoredTodo = {
      ...newTodo,
      id: this.lastId,
      done: false,
      createdAt: DateTime.utc().toISO(),
    };
    this.todos.set(todo.id, todo);
    return withOverdue(todo);
  }

  setDone(id: number, done: boolean): Todo {
    const todo = this.todos.get(id);
    if (!todo) {
      throw new NotFoundError(`no todo with id ${id}`);
    }
    const changed = { ...todo, done };
    this.todos.set(id, changed);
    return withOverdue(changed);
  }
}

function withOverdue(todo: StoredTodo): Todo {
  const overdue =
    !todo.done &&
    todo.due !== undefined &&
    DateTime.fromISO(todo.due, { zone: 'utc' }).endOf('day') < DateTime.utc();
  return { ...todo, overdue };
}
