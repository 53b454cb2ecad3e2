import { InputError } from '@backstage/errors';
import { parseNewTodo, type TodoList } from '@acme/plugin-todo-common';
import express from 'express';
import Router from 'express-promise-router';
import type { TodoStore } from './TodoStore';

export function createRouter(store: TodoStore): express.Router {
  const router = Router();
  router.use(express.json());

  router.get('/todos', (_req, res) => {
    const body: TodoList = { items: store.list() };
    res.json(body);
  });

  router.post('/todos', (req, res) => {
    res.status(201).json(store.add(parseNewTodo(req.body)));
  });

  router.put('/todos/:id/done', (req, res) => {
    if (typeof req.body?.done !== 'boolean') {
      throw new InputError('`done` must be true or false');
    }
    res.json(store.setDone(Number(req.params.id), req.body.done));
  });

  return router;
}
