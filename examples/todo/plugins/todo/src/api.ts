import {
  createApiRef,
  type DiscoveryApi,
  type FetchApi,
} from '@backstage/core-plugin-api';
import { ResponseError } from '@backstage/errors';
import {
  parseNewTodo,
  type NewTodo,
  type Todo,
  type TodoList,
} from '@acme/plugin-todo-common';

export interface TodoApi {
  list(): Promise<Todo[]>;
  add(todo: NewTodo): Promise<Todo>;
  setDone(id: number, done: boolean): Promise<Todo>;
}

export const todoApiRef = createApiRef<TodoApi>({ id: 'plugin.todo' });

/** Talks to the todo backend, with the credentials of who is logged in. */
export class TodoClient implements TodoApi {
  constructor(
    private readonly deps: { discoveryApi: DiscoveryApi; fetchApi: FetchApi },
  ) {}

  async list(): Promise<Todo[]> {
    const { items } = await this.request<TodoList>('GET', '/todos');
    return items;
  }

  async add(todo: NewTodo): Promise<Todo> {
    return this.request('POST', '/todos', parseNewTodo(todo));
  }

  async setDone(id: number, done: boolean): Promise<Todo> {
    return this.request('PUT', `/todos/${id}/done`, { done });
  }

  private async request<T>(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<T> {
    const baseUrl = await this.deps.discoveryApi.getBaseUrl('todo');
    const response = await this.deps.fetchApi.fetch(`${baseUrl}${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      }),
    });
    if (!response.ok) {
      throw await ResponseError.fromResponse(response);
    }
    return response.json();
  }
}
