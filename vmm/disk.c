// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE	/* F_OFD_SETLK */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

#define SECTOR		512
#define HEADER_SIZE	sizeof(struct virtio_blk_outhdr)

/*
 * The limits for the data of a request, small enough for the bounce buffers of
 * a small guest.  Linux with 128 MiB on arm64 has 256 KiB of them, and retries
 * a request that does not fit forever.
 */
#define MAX_SEGMENTS		14
#define MAX_SEGMENT_SIZE	4096

/*
 * The limit for the data of one system call, for a guest that ignores the
 * limits above: the VM can only end between two system calls.
 */
#define MAX_PART		(1U << 20)

static const char disk_name[VIRTIO_BLK_ID_BYTES] = "guestmem";

static const char *check_type(const struct stat *st)
{
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return "neither a regular file nor a block device";
	return NULL;
}

/*
 * Two guests that write to one file system would destroy it.  A block device
 * needs no lock, because O_EXCL excludes other guests and mounts.
 */
static const char *lock_file(const struct disk *disk)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(disk->fd, F_OFD_SETLK, &lock))
		return NULL;
	return errno == EAGAIN || errno == EACCES ? "another process uses it" : strerror(errno);
}

static const char *check_file(struct disk *disk)
{
	const char *error;
	struct stat st;
	off_t size;

	if (fstat(disk->fd, &st))
		return strerror(errno);
	error = check_type(&st);
	if (!error && S_ISREG(st.st_mode))
		error = lock_file(disk);
	if (error)
		return error;
	size = lseek(disk->fd, 0, SEEK_END);
	if (size < 0)
		return strerror(errno);
	disk->sectors = size / SECTOR;
	if (!disk->sectors || size % SECTOR)
		return "the size of a disk must be a multiple of 512 bytes, and not 0";
	return NULL;
}

const char *disk_open(struct disk *disk, const char *path)
{
	const char *error;
	struct stat st;

	*disk = (struct disk){ .fd = -1 };
	/* Do not open other devices: opening a watchdog, for example, starts it. */
	if (stat(path, &st))
		return strerror(errno);
	error = check_type(&st);
	if (error)
		return error;
	disk->fd = open(path, O_RDWR | O_CLOEXEC | (S_ISBLK(st.st_mode) ? O_EXCL : 0));
	if (disk->fd < 0)
		return errno == EBUSY ? "another process uses it, or it is mounted" :
		       strerror(errno);
	error = check_file(disk);
	if (error)
		disk_close(disk);
	return error;
}

void disk_close(struct disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
}

/* A position in the segments of a request. */
struct cursor {
	const struct memory *memory;
	const struct virtio_segment *segment;
	unsigned int nr;
	uint32_t done;		/* bytes of *segment that precede the position */
};

static uint64_t bytes_left(const struct cursor *cursor)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < cursor->nr; i++)
		sum += cursor->segment[i].len;
	return sum - cursor->done;
}

/*
 * Advances by 1 to @max bytes of one segment and stores their address.
 * Return: the number of bytes; 0 at the end of the last segment.
 */
static uint32_t next_part(struct cursor *cursor, uint64_t max, uint64_t *addr)
{
	uint32_t len;

	while (cursor->nr && cursor->done == cursor->segment->len) {
		cursor->segment++;
		cursor->nr--;
		cursor->done = 0;
	}
	if (!cursor->nr)
		return 0;
	len = cursor->segment->len - cursor->done;
	if (len > max)
		len = max;
	*addr = cursor->segment->addr + cursor->done;
	cursor->done += len;
	return len;
}

static bool take(struct cursor *cursor, void *to, size_t size)
{
	uint8_t *bytes = to;
	uint64_t addr;
	uint32_t len;

	for (; size; bytes += len, size -= len) {
		len = next_part(cursor, size, &addr);
		if (!len || !memory_read(cursor->memory, addr, bytes, len))
			return false;
	}
	return true;
}

static bool put(struct cursor *cursor, const void *from, size_t size)
{
	const uint8_t *bytes = from;
	uint64_t addr;
	uint32_t len;

	for (; size; bytes += len, size -= len) {
		len = next_part(cursor, size, &addr);
		if (!len || !memory_write(cursor->memory, addr, bytes, len))
			return false;
	}
	return true;
}

/*
 * The kernel copies between the file and guest memory, so the system call fails
 * with EFAULT at an address that the guest has not shared, and raises no
 * signal.
 */
static bool transfer_part(const struct disk *disk, void *at, uint32_t len, uint64_t offset,
			  bool write)
{
	while (len) {
		ssize_t n = write ? pwrite(disk->fd, at, len, offset) :
				    pread(disk->fd, at, len, offset);

		if (n < 0 && errno == EINTR && !atomic_load(disk->virtio.ending))
			continue;
		if (n <= 0)
			return false;
		at = (char *)at + n;
		len -= n;
		offset += n;
	}
	return true;
}

static uint8_t transfer(const struct disk *disk, struct cursor *data, uint64_t size,
			uint64_t sector, bool write)
{
	uint64_t offset = sector * SECTOR, addr;
	uint32_t len;

	if (size % SECTOR || sector > disk->sectors || size / SECTOR > disk->sectors - sector)
		return VIRTIO_BLK_S_IOERR;
	for (; size; size -= len, offset += len) {
		void *at;

		if (atomic_load(disk->virtio.ending))
			return VIRTIO_BLK_S_IOERR;
		len = next_part(data, size < MAX_PART ? size : MAX_PART, &addr);
		at = memory_shared_at(data->memory, addr, len);
		if (!at || !transfer_part(disk, at, len, offset, write))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static uint8_t flush(const struct disk *disk)
{
	return fdatasync(disk->fd) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t write_data(const struct disk *disk, struct cursor *out, uint64_t sector)
{
	uint8_t status = transfer(disk, out, bytes_left(out), sector, true);

	/* A driver without FLUSH expects that written data is stable. */
	if (status == VIRTIO_BLK_S_OK &&
	    !(disk->virtio.driver_features & 1ULL << VIRTIO_BLK_F_FLUSH))
		status = flush(disk);
	return status;
}

static int64_t request(void *context, const struct virtio_request *request)
{
	const struct disk *disk = context;
	const struct memory *memory = disk->virtio.memory;
	struct cursor out = { memory, request->segments, request->nr_out, 0 };
	struct cursor in = { memory, request->segments + request->nr_out, request->nr_in, 0 };
	struct virtio_blk_outhdr header;
	uint64_t size, addr, written = 0;
	uint8_t status;

	if (!take(&out, &header, HEADER_SIZE) || !bytes_left(&in))
		return -1;
	size = bytes_left(&in) - sizeof(status);
	switch (le32toh(header.type)) {
	case VIRTIO_BLK_T_IN:
		status = transfer(disk, &in, size, le64toh(header.sector), false);
		if (status == VIRTIO_BLK_S_OK)
			written = size;
		break;
	case VIRTIO_BLK_T_OUT:
		status = write_data(disk, &out, le64toh(header.sector));
		break;
	case VIRTIO_BLK_T_FLUSH:
		status = flush(disk);
		break;
	case VIRTIO_BLK_T_GET_ID:
		status = size == sizeof(disk_name) && put(&in, disk_name, size) ?
			 VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
		if (status == VIRTIO_BLK_S_OK)
			written = size;
		break;
	default:
		status = VIRTIO_BLK_S_UNSUPP;
	}
	/* The status is the last byte, even if fewer bytes of data precede it. */
	while (bytes_left(&in) > sizeof(status))
		next_part(&in, bytes_left(&in) - sizeof(status), &addr);
	if (!put(&in, &status, sizeof(status)))
		return -1;
	return written == size ? size + sizeof(status) : 0;
}

static void interrupt(void *context, bool level)
{
	const struct disk *disk = context;

	disk->interrupt(disk->context, level);
}

static const struct virtio_operations disk_ops = {
	.interrupt = interrupt,
	.request = request,
};

void disk_start(struct disk *disk, const struct memory *memory, const atomic_int *ending,
		void (*raise)(void *context, bool level), void *context)
{
	disk->interrupt = raise;
	disk->context = context;
	disk->config = (struct virtio_blk_config){
		.capacity = htole64(disk->sectors), .seg_max = htole32(MAX_SEGMENTS),
		.size_max = htole32(MAX_SEGMENT_SIZE),
	};
	disk->virtio = (struct virtio){
		.ops = &disk_ops, .context = disk, .memory = memory, .id = VIRTIO_ID_BLOCK,
		.name = "disk",
		.features = 1ULL << VIRTIO_BLK_F_SIZE_MAX | 1ULL << VIRTIO_BLK_F_SEG_MAX |
			    1ULL << VIRTIO_BLK_F_FLUSH,
		.ending = ending,
		.config = (const uint8_t *)&disk->config, .config_size = sizeof(disk->config),
	};
	virtio_init(&disk->virtio);
}

void disk_exit(struct disk *disk, uint64_t offset, struct kvm_run *run)
{
	if (run->mmio.is_write)
		virtio_write(&disk->virtio, offset, run->mmio.data, run->mmio.len);
	else
		virtio_read(&disk->virtio, offset, run->mmio.data, run->mmio.len);
}
