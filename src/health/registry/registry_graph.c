// SPDX-License-Identifier: Apache-2.0
// What no single service can show: dependencies that do not exist or go in circles, and ports that
// two services of one machine share.
//
// Circles: what depends on nothing that is left is taken away, again and again; then, the other way
// round, what nothing left depends on. Who remains is in a circle, or between two. No recursion:
// a registry may be one long chain.
#include <stdlib.h>

#include "base/mem.h"
#include "health/registry/registry_internal.h"

struct edge {
    size_t from; // depends on
    size_t to;
};

struct graph {
    struct edge *edges;
    size_t edge_count;
    size_t *degrees; // of each service, in the direction looked at
    bool *gone;
    size_t count;
};

static const struct yml_node *node_of(
    const struct yml_node *services, const struct service *service)
{
    return yml_get(services, slice_str(service->name));
}

// ---- Dependencies

static void add_edges(struct reader *reader, const struct yml_node *services, struct graph *graph)
{
    struct registry *registry = reader->registry;
    for (size_t i = 0; i < registry->service_count; i++) {
        struct service *service = &registry->services[i];
        service->depends_on =
            reader_alloc(reader, (service->dependency_count + 1) * sizeof *service->depends_on);
        for (size_t d = 0; service->depends_on != NULL && d < service->dependency_count; d++) {
            const struct service *other =
                reader_service(reader, slice_str(service->dependencies[d]));
            service->depends_on[d] = other;
            if (other == NULL) {
                reader_warning(reader, node_of(services, service),
                    "depends on %s, which is no service", service->dependencies[d]);
                continue;
            }
            graph->edges[graph->edge_count++] =
                (struct edge){i, (size_t)(other - registry->services)};
        }
    }
}

// Takes services away while there is one without an edge; forward: without dependencies left.
static void peel(struct graph *graph, bool forward)
{
    bool any = true;
    for (size_t i = 0; i < graph->count; i++) {
        graph->degrees[i] = 0;
    }
    for (size_t e = 0; e < graph->edge_count; e++) {
        const struct edge *edge = &graph->edges[e];
        graph->degrees[forward ? edge->from : edge->to]++;
    }
    while (any) {
        any = false;
        size_t kept = 0;
        for (size_t i = 0; i < graph->count; i++) {
            graph->gone[i] = graph->degrees[i] == 0;
        }
        for (size_t e = 0; e < graph->edge_count; e++) {
            struct edge edge = graph->edges[e];
            if (graph->gone[forward ? edge.to : edge.from]) {
                graph->degrees[forward ? edge.from : edge.to]--;
                any = true;
            } else {
                graph->edges[kept++] = edge;
            }
        }
        graph->edge_count = kept;
    }
}

static void check_circles(
    struct reader *reader, const struct yml_node *services, struct graph *graph)
{
    peel(graph, true);
    peel(graph, false);
    // Both ends of every edge that is left are in a circle; one note a service is enough.
    for (size_t i = 0; i < graph->count; i++) {
        graph->gone[i] = false;
    }
    for (size_t e = 0; e < graph->edge_count; e++) {
        const struct service *from = &reader->registry->services[graph->edges[e].from];
        if (!graph->gone[graph->edges[e].from]) {
            graph->gone[graph->edges[e].from] = true;
            reader_warning(reader, node_of(services, from), "depends on itself, by way of %s",
                reader->registry->services[graph->edges[e].to].name);
        }
    }
}

static void check_dependencies(struct reader *reader, const struct yml_node *services)
{
    struct graph graph = {.count = reader->registry->service_count};
    size_t edge_max = 1;
    for (size_t i = 0; i < graph.count; i++) {
        edge_max += reader->registry->services[i].dependency_count;
    }
    graph.edges = mem_alloc(edge_max * sizeof *graph.edges);
    graph.degrees = mem_alloc((graph.count + 1) * sizeof *graph.degrees);
    graph.gone = mem_alloc((graph.count + 1) * sizeof *graph.gone);
    if (graph.edges != NULL && graph.degrees != NULL && graph.gone != NULL) {
        add_edges(reader, services, &graph);
        check_circles(reader, services, &graph);
    } else {
        reader->out_of_memory = true;
    }
    mem_free(graph.edges);
    mem_free(graph.degrees);
    mem_free(graph.gone);
}

// ---- Ports

static int by_machine_and_port(const void *left, const void *right)
{
    const struct service *a = *(const struct service *const *)left;
    const struct service *b = *(const struct service *const *)right;
    if (a->machine != b->machine) {
        return a->machine < b->machine ? -1 : 1;
    }
    if (a->port != b->port) {
        return a->port < b->port ? -1 : 1;
    }
    return a < b ? -1 : a > b;
}

static void check_ports(struct reader *reader, const struct yml_node *services)
{
    struct registry *registry = reader->registry;
    const struct service **order = mem_alloc((registry->service_count + 1) * sizeof *order);
    if (order == NULL) {
        reader->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < registry->service_count; i++) {
        order[i] = &registry->services[i];
    }
    qsort(order, registry->service_count, sizeof *order, by_machine_and_port);
    for (size_t i = 1; i < registry->service_count; i++) {
        const struct service *service = order[i];
        if (service->port != 0 && service->machine->declared &&
            service->machine == order[i - 1]->machine && service->port == order[i - 1]->port) {
            reader_warning(reader, node_of(services, service),
                "has the port of %s on the same machine %s", order[i - 1]->name,
                service->machine->name);
        }
    }
    mem_free(order);
}

void reader_check_graph(struct reader *reader, const struct yml_node *services)
{
    check_dependencies(reader, services);
    check_ports(reader, services);
}
